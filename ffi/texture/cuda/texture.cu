// Reads of textures on a GPU, and their gradients by coordinates and levels: a thread a pixel. Those by texels: ../../common/spread.cuh.
#include "cuda.h"

#include "../../common/spread.cuh"

namespace ava {
namespace texture {
namespace {

constexpr unsigned kThreads = 256;

__device__ __forceinline__ bool IsRead(const Task& t, int64_t at) { return t.where == nullptr || t.where[at]; }

__device__ __forceinline__ Between LevelsOf(const Task& t, int64_t at) {
  return t.level == nullptr ? Between{{0, 0}, 0.0f} : LevelsAt(t.level[at], t.levels.count);
}

__device__ __forceinline__ Taps TapsOf(const Task& t, int64_t at, int32_t level) {
  return TapsAt(t.uv[2 * at], t.uv[2 * at + 1], t.levels, level, t.filter, t.wrap);
}

__device__ __forceinline__ const float* TexelsOf(const Task& t, int64_t at) {
  return t.texture + (t.common ? 0 : at / t.pixels * t.texels * t.channels);
}

// Calls run(taps, share, side, level) for the one or two levels that a pixel reads.
template <class Run>
__device__ __forceinline__ void ForLevels(const Task& t, int64_t at, const Run& run) {
  const Between between = LevelsOf(t, at);
  for (int side = 0; side < (between.at[0] == between.at[1] ? 1 : 2); ++side) {
    run(TapsOf(t, at, between.at[side]), side ? between.fraction : 1.0f - between.fraction, side, between.at[side]);
  }
}

// `kChannels` numbers of a pixel at a time, from `channel` on.
template <int kChannels>
__device__ __forceinline__ void ReadChannels(const Task& t, int64_t at, int64_t channel, float* out) {
  float sum[kChannels] = {};
  if (IsRead(t, at)) {
    const float* texels = TexelsOf(t, at);
    ForLevels(t, at, [&](const Taps& taps, float share, int, int32_t) {
      for (int i = 0; i < 4; ++i) {
        if (taps.texel[i] < 0) continue;
        const float weight = taps.weight[i] * share;
        for (int k = 0; k < kChannels; ++k) sum[k] += texels[taps.texel[i] * t.channels + channel + k] * weight;
      }
    });
  }
  for (int k = 0; k < kChannels; ++k) out[at * t.channels + channel + k] = sum[k];
}

__global__ void __launch_bounds__(kThreads) ReadPixels(Task t, int64_t pixels, float* out) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= pixels) return;
  int64_t channel = 0;
  for (; channel + 3 <= t.channels; channel += 3) ReadChannels<3>(t, at, channel, out);
  for (; channel < t.channels; ++channel) ReadChannels<1>(t, at, channel, out);
}

__global__ void __launch_bounds__(kThreads) LocatePixels(Task t, int64_t pixels, const float* cotangent, float* d_uv, float* d_level) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= pixels) return;
  float u = 0.0f, v = 0.0f, by_level = 0.0f;
  if (IsRead(t, at)) {
    const float *texels = TexelsOf(t, at), *given = cotangent + at * t.channels;
    const Between between = LevelsOf(t, at);
    ForLevels(t, at, [&](const Taps& taps, float share, int side, int32_t level) {
      float along[4], value = 0.0f;
      for (int i = 0; i < 4; ++i) {
        along[i] = 0.0f;
        if (taps.texel[i] < 0) continue;
        const float* from = texels + taps.texel[i] * t.channels;
        for (int64_t c = 0; c < t.channels; ++c) along[i] += from[c] * given[c];
        value += along[i] * taps.weight[i];
      }
      if (between.at[0] != between.at[1]) by_level += side ? value : -value;  // 0 where one level alone is read
      if (t.filter == Filter::kNearest) return;
      const float fx = taps.column.fraction, fy = taps.row.fraction;
      u += share * static_cast<float>(t.levels.width[level]) * ((along[1] - along[0]) * (1.0f - fy) + (along[3] - along[2]) * fy);
      v += share * static_cast<float>(t.levels.height[level]) * ((along[2] - along[0]) * (1.0f - fx) + (along[3] - along[1]) * fx);
    });
  }
  d_uv[2 * at] = u;
  d_uv[2 * at + 1] = v;
  if (d_level != nullptr) d_level[at] = by_level;
}

// Texels as what pixels read.
struct TexelsRead {
  Task task;

  static constexpr int kTaps = 4;
  __device__ __forceinline__ int Sides() const { return task.level == nullptr ? 1 : 2; }
  __device__ __forceinline__ bool IsRead(int64_t at) const { return texture::IsRead(task, at); }
  __device__ __forceinline__ float Most(int64_t) const { return 1.0f; }
  __device__ __forceinline__ void TapsOf(int64_t at, int side, int64_t row[4], float weight[4]) const {
    const Between between = LevelsOf(task, at);
    if (side == 1 && between.at[0] == between.at[1]) {
      for (int i = 0; i < 4; ++i) row[i] = -1;
      return;
    }
    const Taps taps = texture::TapsOf(task, at, between.at[side]);
    const float share = side ? between.fraction : 1.0f - between.fraction;
    for (int i = 0; i < 4; ++i) {
      row[i] = taps.texel[i];
      weight[i] = taps.weight[i] * share;
    }
  }
};

Spreading SpreadingOf(const Task& t, int64_t width) {
  return {t.batch, width > 0 ? t.pixels / width : 0, width, t.texels, t.channels, t.common};
}

}  // namespace

cudaError_t CudaRead(const Task& t, float* out, cudaStream_t stream) {
  const int64_t pixels = t.batch * t.pixels;
  if (pixels > 0) Launch(ReadPixels, BlocksFor(pixels, kThreads), kThreads, stream, t, pixels, out);
  return cudaGetLastError();
}

cudaError_t CudaLocate(const Task& t, const float* cotangent, float* d_uv, float* d_level, cudaStream_t stream) {
  const int64_t pixels = t.batch * t.pixels;
  if (pixels > 0) Launch(LocatePixels, BlocksFor(pixels, kThreads), kThreads, stream, t, pixels, cotangent, d_uv, d_level);
  return cudaGetLastError();
}

int64_t CudaSpreadScratch(const Task& t, int64_t width) { return SpreadScratch(SpreadingOf(t, width)); }

cudaError_t CudaSpread(const Task& t, int64_t width, const float* cotangent, void* scratch, float* d_texture, cudaStream_t stream) {
  ava::Spread(TexelsRead{t}, SpreadingOf(t, width), cotangent, scratch, d_texture, stream);
  return cudaGetLastError();
}

}  // namespace texture
}  // namespace ava
