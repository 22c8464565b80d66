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

constexpr int64_t kAhead = 32;  // pixels whose texels are asked for before they are read: they mostly lie in main memory

// Calls run(pixel, taps, share, side, level) for all that pixels [first, last) read; `begin(pixel)` once before each pixel.
template <bool kWrite, class Begin, class Run>
AVA_ALWAYS void ForReads(const Reads& r, const float* texels, int64_t first, int64_t last, const Begin& begin, const Run& run) {
  if (r.level != nullptr) {
    for (int64_t p = first; p < last; ++p) {
      if (!begin(p)) continue;
      const Between between = LevelsAt(r.level[p], r.levels.count);
      ForLevels(r, p, [&](const Taps& taps, float share, int side) { run(p, taps, share, side, between.at[side]); });
    }
    return;
  }
  Taps taps[kAhead];
  int64_t pixel[kAhead];
  for (int64_t p = first; p < last;) {
    int64_t count = 0;
    for (; p < last && count < kAhead; ++p) {
      if (!begin(p)) continue;
      Taps& t = taps[count];
      t = TapsAt(r.uv[2 * p], r.uv[2 * p + 1], r.levels, 0, r.filter, r.wrap);
      for (int i = 0; i < 4; i += 2) {
        if (t.texel[i] >= 0) __builtin_prefetch(texels + t.texel[i] * r.channels, kWrite);
      }
      pixel[count++] = p;
    }
    for (int64_t i = 0; i < count; ++i) run(pixel[i], taps[i], 1.0f, 0, 0);
  }
}

AVA_ALWAYS bool IsRead(const Reads& r, int64_t p) { return r.where == nullptr || r.where[p]; }

// kChannels 0: any number of them.
template <int kChannels>
AVA_ALWAYS void ReadPixels(const Reads& r, int64_t first, int64_t last, float* out) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  const auto begin = [&](int64_t p) {
    for (int64_t c = 0; c < channels; ++c) out[p * channels + c] = 0.0f;
    return IsRead(r, p);
  };
  ForReads<false>(r, r.texels, first, last, begin, [&](int64_t p, const Taps& taps, float share, int, int32_t) {
    float* to = out + p * channels;
    for (int i = 0; i < 4; ++i) {
      if (taps.texel[i] < 0) continue;
      const float* from = r.texels + taps.texel[i] * channels;
      const float weight = taps.weight[i] * share;
      for (int64_t c = 0; c < channels; ++c) to[c] += from[c] * weight;
    }
  });
}

template <int kChannels>
AVA_ALWAYS void LocatePixels(const Reads& r, int64_t first, int64_t last, const float* cotangent, float* d_uv, float* d_level) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  const auto begin = [&](int64_t p) {
    d_uv[2 * p] = d_uv[2 * p + 1] = 0.0f;
    if (d_level != nullptr) d_level[p] = 0.0f;
    return IsRead(r, p);
  };
  ForReads<false>(r, r.texels, first, last, begin, [&](int64_t p, const Taps& taps, float share, int side, int32_t level) {
    const float* given = cotangent + p * channels;
    float along[4], value = 0.0f;
    for (int i = 0; i < 4; ++i) {
      along[i] = 0.0f;
      if (taps.texel[i] < 0) continue;
      const float* from = r.texels + taps.texel[i] * channels;
      for (int64_t c = 0; c < channels; ++c) along[i] += from[c] * given[c];
      value += along[i] * taps.weight[i];
    }
    if (d_level != nullptr) {  // 0 where one level alone is read
      const Between between = LevelsAt(r.level[p], r.levels.count);
      if (between.at[0] != between.at[1]) d_level[p] += side ? value : -value;
    }
    if (r.filter == Filter::kNearest) return;
    const float fx = taps.column.fraction, fy = taps.row.fraction;
    d_uv[2 * p] += share * static_cast<float>(r.levels.width[level]) * ((along[1] - along[0]) * (1.0f - fy) + (along[3] - along[2]) * fy);
    d_uv[2 * p + 1] +=
        share * static_cast<float>(r.levels.height[level]) * ((along[2] - along[0]) * (1.0f - fx) + (along[3] - along[1]) * fx);
  });
}

template <int kChannels>
AVA_ALWAYS void SpreadPixels(const Reads& r, int64_t first, int64_t last, const float* cotangent, int32_t part, int32_t parts,
                             float* d_texels) {
  const int64_t channels = kChannels ? kChannels : r.channels;
  const auto owns = [&](int32_t row) { return row >= 0 && (parts == 1 || row / kPartRows % parts == part); };
  // Whether any of the rows that a pixel reads is this part's: told before all the rest is computed, where there is one level.
  const auto touches = [&](int64_t p) {
    if (parts == 1 || r.level != nullptr) return true;
    const Axis row = AxisAt(r.uv[2 * p + 1], r.levels.height[0], r.filter, r.wrap);
    return owns(row.at[0]) || owns(row.at[1]);
  };
  const auto begin = [&](int64_t p) { return IsRead(r, p) && touches(p); };
  ForReads<true>(r, d_texels, first, last, begin, [&](int64_t p, const Taps& taps, float share, int, int32_t) {
    const float* given = cotangent + p * channels;
    const bool own[2] = {owns(taps.row.at[0]), owns(taps.row.at[1])};
    for (int i = 0; i < 4; ++i) {
      if (taps.texel[i] < 0 || !own[i / 2]) continue;
      float* to = d_texels + taps.texel[i] * channels;
      const float weight = taps.weight[i] * share;
      for (int64_t c = 0; c < channels; ++c) to[c] += given[c] * weight;
    }
  });
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
