// The mathematics of one read of a texture, for host and device. Texel i of N is centred at (i + 0.5) / N.
//
// All of it has internal linkage: the host compiles this once per instruction set and must not let the linker merge them.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define AVA_TEXTURE static __host__ __device__ __forceinline__
#else
#define AVA_TEXTURE static inline __attribute__((always_inline))
#endif

namespace ava {
namespace texture {

enum class Wrap : int32_t { kWrap, kClamp, kZero };
enum class Filter : int32_t { kNearest, kBilinear };

constexpr int kMostLevels = 16;

// Mip levels one after the other, level 0 the largest.
struct Levels {
  int32_t count;
  int32_t height[kMostLevels], width[kMostLevels];
  int64_t first[kMostLevels];  // texel
};

AVA_TEXTURE float FloorOf(float x) {  // for |x| < 2^31, and NaN of NaN
  const float whole = static_cast<float>(static_cast<int32_t>(x));
  return whole > x ? whole - 1.0f : whole;
}

// Where an axis of `size` texels is read: two texels, -1 for none, and how far it is from the first to the second.
struct Axis {
  int32_t at[2];
  float fraction;
};

AVA_TEXTURE int32_t Wrapped(int32_t i, int32_t size, Wrap wrap) {
  if (wrap == Wrap::kWrap) return i < 0 ? i + size : i >= size ? i - size : i;
  if (wrap == Wrap::kZero) return i < 0 || i >= size ? -1 : i;
  return i < 0 ? 0 : i >= size ? size - 1 : i;
}

// `u`: 0 to 1 across the texture. What is not finite reads texel 0, with a fraction that is NaN.
AVA_TEXTURE Axis AxisAt(float u, int32_t size, Filter filter, Wrap wrap) {
  if (!(u - u == 0.0f)) return {{0, 0}, u - u};
  if (wrap == Wrap::kWrap) {
    if (u < -1e6f || u > 1e6f) u = 0.0f;  // no digits are left of the fraction
    u -= FloorOf(u);
  } else {
    u = u < -2.0f ? -2.0f : u > 3.0f ? 3.0f : u;
  }
  const float x = u * static_cast<float>(size) - (filter == Filter::kNearest ? 0.0f : 0.5f);
  const float whole = FloorOf(x);
  const int32_t i = static_cast<int32_t>(whole);
  Axis axis = {{Wrapped(i, size, wrap), 0}, 0.0f};
  if (filter == Filter::kNearest) {
    axis.at[1] = axis.at[0];
    return axis;
  }
  axis.at[1] = Wrapped(i + 1, size, wrap);
  axis.fraction = x - whole;
  return axis;
}

// The levels that a level of detail lies between, and how far.
struct Between {
  int32_t at[2];
  float fraction;
};

AVA_TEXTURE Between LevelsAt(float level, int32_t count) {
  if (!(level > 0.0f)) return {{0, 0}, 0.0f};  // NaN too
  if (level >= static_cast<float>(count - 1)) return {{count - 1, count - 1}, 0.0f};
  const int32_t i = static_cast<int32_t>(level);
  return {{i, i + 1}, level - static_cast<float>(i)};
}

// Four texels of a level, -1 for none, and their weights: of rows 0, 1 and in them columns 0, 1.
struct Taps {
  int64_t texel[4];
  float weight[4];
  Axis column, row;
};

AVA_TEXTURE Taps TapsAt(float u, float v, const Levels& levels, int32_t level, Filter filter, Wrap wrap) {
  Taps taps;
  taps.column = AxisAt(u, levels.width[level], filter, wrap);
  taps.row = AxisAt(v, levels.height[level], filter, wrap);
  const float fx = taps.column.fraction, fy = taps.row.fraction;
  for (int i = 0; i < 4; ++i) {
    const int32_t y = taps.row.at[i / 2], x = taps.column.at[i % 2];
    taps.texel[i] = y < 0 || x < 0 ? -1 : levels.first[level] + static_cast<int64_t>(y) * levels.width[level] + x;
    taps.weight[i] = (i / 2 ? fy : 1.0f - fy) * (i % 2 ? fx : 1.0f - fx);
  }
  return taps;
}

// Of textures [batch or 1, texels, channels], at pixels [batch, pixels].
struct Task {
  int64_t batch, texels, channels, pixels;
  bool common;  // one texture for all images
  Levels levels;
  Filter filter;
  Wrap wrap;
  const float* texture;
  const float* uv;
  const float* level;  // null for level 0
  const bool* where;   // null for everywhere
};

}  // namespace texture
}  // namespace ava
