#include "cpu.h"

#include <algorithm>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace texture {
namespace {

constexpr int64_t kPixels = 8192;  // of a task

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

Reads ReadsOf(const Task& t, int64_t image) {
  const int64_t at = image * t.pixels;
  return {t.texture == nullptr || t.common ? t.texture : t.texture + image * t.texels * t.channels,
          t.uv + 2 * at,
          t.level == nullptr ? nullptr : t.level + at,
          t.where == nullptr ? nullptr : t.where + at,
          t.channels,
          t.levels,
          t.filter,
          t.wrap};
}

template <class Run>
void ForPixels(const Task& t, const Pool& pool, const Run& run) {
  const int64_t tasks = (t.pixels + kPixels - 1) / kPixels;
  ParallelFor(pool, t.batch * tasks, [&](int64_t task, int) {
    const int64_t first = task % tasks * kPixels;
    run(task / tasks, first, std::min(first + kPixels, t.pixels));
  });
}

// Sets the rows of one part to zero.
void ClearPart(const Task& t, int64_t part, int64_t parts, float* d_texels) {
  for (int32_t level = 0; level < t.levels.count; ++level) {
    const int64_t row = t.levels.width[level] * t.channels, height = t.levels.height[level];
    float* to = d_texels + t.levels.first[level] * t.channels;
    for (int64_t y = part * kPartRows; y < height; y += parts * kPartRows) {
      std::fill(to + y * row, to + std::min(y + kPartRows, height) * row, 0.0f);
    }
  }
}

}  // namespace

void Read(const Task& t, float* out, const Pool& pool) {
  ForPixels(t, pool, [&](int64_t image, int64_t first, int64_t last) {
    Chosen().read(ReadsOf(t, image), first, last, out + image * t.pixels * t.channels);
  });
}

void Locate(const Task& t, const float* cotangent, float* d_uv, float* d_level, const Pool& pool) {
  ForPixels(t, pool, [&](int64_t image, int64_t first, int64_t last) {
    const int64_t at = image * t.pixels;
    float* level = d_level == nullptr ? nullptr : d_level + at;
    Chosen().locate(ReadsOf(t, image), first, last, cotangent + at * t.channels, d_uv + 2 * at, level);
  });
}

void Spread(const Task& t, const float* cotangent, float* d_texture, const Pool& pool) {
  const int64_t textures = t.common ? 1 : t.batch, images = t.batch / std::max<int64_t>(textures, 1);
  const int64_t parts = std::max<int64_t>(1, (pool.threads + textures - 1) / std::max<int64_t>(textures, 1));
  ParallelFor(pool, textures * parts, [&](int64_t task, int) {
    const int64_t texture = task / parts, part = task % parts;
    float* to = d_texture + texture * t.texels * t.channels;
    ClearPart(t, part, parts, to);
    for (int64_t i = 0; i < images; ++i) {
      const int64_t image = texture * images + i;
      Chosen().spread(ReadsOf(t, image), 0, t.pixels, cotangent + image * t.pixels * t.channels, static_cast<int32_t>(part),
                      static_cast<int32_t>(parts), to);
    }
  });
}

}  // namespace texture
}  // namespace ava
