// The inner loops of reads of textures, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

namespace ava {
namespace texture {
namespace {

#define AVA_ALWAYS static inline __attribute__((always_inline))

// Calls run(taps, share, side) for each level that a pixel reads; `side` 0 or 1 of the two, `share` its weight.
template <class Run>
AVA_ALWAYS void ForLevels(const Reads& r, int64_t p, const Run& run) {
  const Between between = r.level == nullptr ? Between{{0, 0}, 0.0f} : LevelsAt(r.level[p], r.levels.count);
  for (int side = 0; side < 2; ++side) {
    if (side == 1 && between.at[0] == between.at[1]) return;
    run(TapsAt(r.uv[2 * p], r.uv[2 * p + 1], r.levels, between.at[side], r.filter, r.wrap),
        side ? between.fraction : 1.0f - between.fraction, side);
  }
}

// kChannels 0: any number of them.
template <int kChannels>
AVA_ALWAYS void ReadPixels(const Reads& r, int64_t first, int64_t last, float* out) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  for (int64_t p = first; p < last; ++p) {
    float* to = out + p * channels;
    for (int64_t c = 0; c < channels; ++c) to[c] = 0.0f;
    if (r.where != nullptr && !r.where[p]) continue;
    ForLevels(r, p, [&](const Taps& taps, float share, int) {
      for (int i = 0; i < 4; ++i) {
        if (taps.texel[i] < 0) continue;
        const float* from = r.texels + taps.texel[i] * channels;
        const float weight = taps.weight[i] * share;
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c] * weight;
      }
    });
  }
}

template <int kChannels>
AVA_ALWAYS void LocatePixels(const Reads& r, int64_t first, int64_t last, const float* cotangent, float* d_uv, float* d_level) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  for (int64_t p = first; p < last; ++p) {
    float du = 0.0f, dv = 0.0f, dl = 0.0f;
    const float* given = cotangent + p * channels;
    if (r.where == nullptr || r.where[p]) {
      bool two = false;
      ForLevels(r, p, [&](const Taps& taps, float share, int side) {
        float along[4];
        for (int i = 0; i < 4; ++i) {
          along[i] = 0.0f;
          if (taps.texel[i] < 0) continue;
          const float* from = r.texels + taps.texel[i] * channels;
          for (int64_t c = 0; c < channels; ++c) along[i] += from[c] * given[c];
        }
        float value = 0.0f;
        for (int i = 0; i < 4; ++i) value += along[i] * taps.weight[i];
        dl += side ? value : -value;
        two = side == 1;
        if (r.filter == Filter::kNearest) return;
        const float fx = taps.column.fraction, fy = taps.row.fraction;
        // Sizes of the level that was read: columns and rows of its texels from 0 to 1.
        const Between between = r.level == nullptr ? Between{{0, 0}, 0.0f} : LevelsAt(r.level[p], r.levels.count);
        const int32_t level = between.at[side];
        du += share * static_cast<float>(r.levels.width[level]) * ((along[1] - along[0]) * (1.0f - fy) + (along[3] - along[2]) * fy);
        dv += share * static_cast<float>(r.levels.height[level]) * ((along[2] - along[0]) * (1.0f - fx) + (along[3] - along[1]) * fx);
      });
      if (!two) dl = 0.0f;
    }
    d_uv[2 * p] = du;
    d_uv[2 * p + 1] = dv;
    if (d_level != nullptr) d_level[p] = dl;
  }
}

template <int kChannels>
AVA_ALWAYS void SpreadPixels(const Reads& r, int64_t first, int64_t last, const float* cotangent, int32_t part, int32_t parts,
                             float* d_texels) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  for (int64_t p = first; p < last; ++p) {
    if (r.where != nullptr && !r.where[p]) continue;
    const float* given = cotangent + p * channels;
    ForLevels(r, p, [&](const Taps& taps, float share, int) {
      for (int i = 0; i < 4; ++i) {
        const int32_t row = taps.row.at[i / 2];
        if (taps.texel[i] < 0 || row / kPartRows % parts != part) continue;
        float* to = d_texels + taps.texel[i] * channels;
        const float weight = taps.weight[i] * share;
        for (int64_t c = 0; c < channels; ++c) to[c] += given[c] * weight;
      }
    });
  }
}

void Read(const Reads& r, int64_t first, int64_t last, float* out) {
  if (r.channels == 3) return ReadPixels<3>(r, first, last, out);
  ReadPixels<0>(r, first, last, out);
}

void Locate(const Reads& r, int64_t first, int64_t last, const float* cotangent, float* d_uv, float* d_level) {
  if (r.channels == 3) return LocatePixels<3>(r, first, last, cotangent, d_uv, d_level);
  LocatePixels<0>(r, first, last, cotangent, d_uv, d_level);
}

void Spread(const Reads& r, int64_t first, int64_t last, const float* cotangent, int32_t part, int32_t parts, float* d_texels) {
  if (r.channels == 3) return SpreadPixels<3>(r, first, last, cotangent, part, parts, d_texels);
  SpreadPixels<0>(r, first, last, cotangent, part, parts, d_texels);
}

}  // namespace

extern const Kernels AVA_KERNELS = {Read, Locate, Spread};

}  // namespace texture
}  // namespace ava
