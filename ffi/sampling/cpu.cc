#include "cpu.h"

#include <algorithm>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace sampling {
namespace {

constexpr int64_t kPoints = 1024;  // of a task
constexpr int64_t kChannels = 8;   // of a task that spreads gradients: it alone writes these

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

}  // namespace

bool Inside(const Shape& s, const int32_t* index) {
  bool inside = true;
  for (int64_t i = 0; i < kCorners * s.points; ++i) inside &= index[i] >= 0 && index[i] < s.pixels;
  return inside;
}

void Read(const Shape& s, const float* images, const int32_t* index, const float* weights, float* out, const Pool& pool) {
  const Reads reads = {s.points, s.channels, index, weights};
  const int64_t tasks = (s.points + kPoints - 1) / kPoints;
  ParallelFor(pool, s.batch * tasks, [&](int64_t task, int) {
    const int64_t image = task / tasks, first = task % tasks * kPoints;
    Chosen().read(reads, images + image * s.pixels * s.channels, first, std::min(first + kPoints, s.points),
                  out + image * s.points * s.channels);
  });
}

void ReadGradient(const Shape& s, const float* images, const int32_t* index, const float* weights, const float* cotangent,
                  float* d_images, float* d_weights, const Pool& pool) {
  const Reads reads = {s.points, s.channels, index, weights};
  const int64_t of_image = s.pixels * s.channels, of_points = s.points * s.channels;
  const int64_t weighing = (s.points + kPoints - 1) / kPoints, blocks = (s.channels + kChannels - 1) / kChannels;
  std::fill(d_weights, d_weights + kCorners * s.points, 0.0f);
  std::fill(d_images, d_images + s.batch * of_image, 0.0f);
  ParallelFor(pool, s.batch * blocks + weighing, [&](int64_t task, int) {
    if (task < s.batch * blocks) {
      const int64_t image = task / blocks, first = task % blocks * kChannels;
      Chosen().spread(reads, cotangent + image * of_points, first, std::min(first + kChannels, s.channels), d_images + image * of_image);
      return;
    }
    const int64_t first = (task - s.batch * blocks) * kPoints, last = std::min(first + kPoints, s.points);
    for (int64_t image = 0; image < s.batch; ++image) {
      Chosen().weigh(reads, images + image * of_image, cotangent + image * of_points, first, last, d_weights);
    }
  });
}

}  // namespace sampling
}  // namespace ava
