// Gradients of the rasteriser: sums over triangles' pixels (sums.cuh), in ../geometry.h's terms. And interpolation, a thread a pixel; the
// gradient of its values is that of a texture whose texels they are (../../common/spread.cuh).
#include "../../common/spread.cuh"
#include "cuda.h"
#include "sums.cuh"

namespace ava {
namespace rasterize {
namespace {

constexpr unsigned kThreads = 256;

template <int kComponents>
struct OfFragments {
  static constexpr int kSums = kComponents == 4 ? 12 : 9, kNumbers = kComponents;

  struct State {
    Triangle triangle;
    double z[3];
  };

  Scene scene;
  Range range;
  const int32_t* index;
  const float* d_barycentrics;
  const float* d_depth;

  __device__ __forceinline__ bool Prepare(const Sums& sums, int64_t image, int64_t triangle, State* state, Box* box) const {
    return MadeTriangle(sums, image, triangle, &state->triangle, state->z, box);
  }

  __device__ __forceinline__ int64_t At(int64_t image, int32_t row, int32_t column) const {
    return (image * scene.height + row) * scene.width + column;
  }

  __device__ __forceinline__ bool Sees(int64_t image, int32_t row, int32_t column, int64_t triangle) const {
    return index[At(image, row, column)] == triangle;
  }

  __device__ __forceinline__ void Add(const State& state, int64_t image, int32_t row, int32_t column, double* sum) const {
    const int64_t at = At(image, row, column);
    double of_z[3] = {};
    double(*sums)[3] = reinterpret_cast<double(*)[3]>(sum);
    AddCotangent(state.triangle, column, row, state.z, d_barycentrics + 3 * at, d_depth[at], range, sums,
                 kComponents == 4 ? sum + 9 : of_z);
  }

  __device__ __forceinline__ void Finish(const State& state, const double* sum, double* record) const {
    FinishCotangent(state.triangle, reinterpret_cast<const double(*)[3]>(sum), sum + 9, range, record);
  }
};

template <int kComponents>
cudaError_t FragmentGradient(const Scene& scene, const int32_t* index, const float* d_barycentrics, const float* d_depth, const Sums& sums,
                             float* d_vertices, cudaStream_t stream) {
  const OfFragments<kComponents> of = {scene, RangeOf(scene), index, d_barycentrics, d_depth};
  SumOverTriangles(of, sums, d_vertices, stream, [](bool) {});
  return cudaGetLastError();
}

// The values at the corners of the triangle that a pixel sees; false where it has none.
__device__ __forceinline__ bool CornerRows(const Interpolation& t, int64_t at, int64_t row[3]) {
  const int32_t triangle = t.index[at];
  if (triangle < 0 || triangle >= t.triangles) return false;
  for (int i = 0; i < 3; ++i) {
    row[i] = t.faces[3 * static_cast<int64_t>(triangle) + i];
    if (row[i] < 0 || row[i] >= t.count) return false;
  }
  return true;
}

__device__ __forceinline__ const float* ValuesOf(const Interpolation& t, int64_t at) {
  return t.values + (t.common ? 0 : at / (t.height * t.width) * t.count * t.channels);
}

__global__ void InterpolatePixels(Interpolation t, int64_t pixels, float* out) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= pixels) return;
  int64_t row[3];
  const bool is_seen = CornerRows(t, at, row);
  const float *values = ValuesOf(t, at), *b = t.barycentrics + 3 * at;
  for (int64_t c = 0; c < t.channels; ++c) {
    out[at * t.channels + c] = is_seen ? values[row[0] * t.channels + c] * b[0] + values[row[1] * t.channels + c] * b[1] +
                                             values[row[2] * t.channels + c] * b[2]
                                       : 0.0f;
  }
}

__global__ void BarycentricsOfPixels(Interpolation t, int64_t pixels, const float* cotangent, float* d_barycentrics) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= pixels) return;
  int64_t row[3];
  float sum[3] = {0.0f, 0.0f, 0.0f};
  if (CornerRows(t, at, row)) {
    const float* values = ValuesOf(t, at);
    for (int64_t c = 0; c < t.channels; ++c) {
      for (int i = 0; i < 3; ++i) sum[i] += values[row[i] * t.channels + c] * cotangent[at * t.channels + c];
    }
  }
  for (int i = 0; i < 3; ++i) d_barycentrics[3 * at + i] = sum[i];
}

// Corners as what pixels read: see spread.cuh.
struct CornersRead {
  Interpolation task;

  static constexpr int kTaps = 3;
  __device__ __forceinline__ int Sides() const { return 1; }
  __device__ __forceinline__ bool IsRead(int64_t at) const {
    const int32_t triangle = task.index[at];
    return triangle >= 0 && triangle < task.triangles;
  }
  __device__ __forceinline__ float Most(int64_t at) const {
    const float* b = task.barycentrics + 3 * at;
    return fabsf(b[0]) + fabsf(b[1]) + fabsf(b[2]);
  }
  __device__ __forceinline__ void TapsOf(int64_t at, int, int64_t row[4], float weight[4]) const {
    const bool is_seen = CornerRows(task, at, row);
    for (int i = 0; i < 3; ++i) {
      if (!is_seen) row[i] = -1;
      weight[i] = task.barycentrics[3 * at + i];
    }
  }
};

Spreading SpreadingOf(const Interpolation& t) {
  return {t.batch, t.height, t.width, t.count, t.channels, t.common};
}

}  // namespace

int64_t CudaGradientScratch(const Scene& scene) {
  Sums sums = SumsOf(scene, 0);
  return LayOut(nullptr, &sums);
}

cudaError_t CudaRasterizeGradient(const Scene& scene, const int32_t* index, const float* d_barycentrics, const float* d_depth,
                                  void* scratch, float* d_vertices, cudaStream_t stream) {
  if (scene.batch * scene.vertices == 0) return cudaSuccess;
  Sums sums = SumsOf(scene, 0);
  LayOut(scratch, &sums);
  if (scene.components == 4) return FragmentGradient<4>(scene, index, d_barycentrics, d_depth, sums, d_vertices, stream);
  return FragmentGradient<3>(scene, index, d_barycentrics, d_depth, sums, d_vertices, stream);
}

cudaError_t CudaInterpolate(const Interpolation& t, float* out, cudaStream_t stream) {
  const int64_t pixels = t.batch * t.height * t.width;
  if (pixels * t.channels > 0) Launch(InterpolatePixels, BlocksFor(pixels, kThreads), kThreads, stream, t, pixels, out);
  return cudaGetLastError();
}

cudaError_t CudaInterpolateBarycentrics(const Interpolation& t, const float* cotangent, float* d_barycentrics, cudaStream_t stream) {
  const int64_t pixels = t.batch * t.height * t.width;
  if (pixels > 0) Launch(BarycentricsOfPixels, BlocksFor(pixels, kThreads), kThreads, stream, t, pixels, cotangent, d_barycentrics);
  return cudaGetLastError();
}

int64_t CudaAttributesScratch(const Interpolation& t) { return SpreadScratch(SpreadingOf(t)); }

cudaError_t CudaInterpolateAttributes(const Interpolation& t, const float* cotangent, void* scratch, float* d_values, cudaStream_t stream) {
  Spread(CornersRead{t}, SpreadingOf(t), cotangent, scratch, d_values, stream);
  return cudaGetLastError();
}

}  // namespace rasterize
}  // namespace ava
