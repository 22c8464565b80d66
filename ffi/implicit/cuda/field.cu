// Implicit functions on GPUs. A warp has a box of points and goes through the elements that count in it.
//
// With a decoder a warp has eight tiles of 16 points. A tile's hidden numbers [16, 32] times an element's weights [32, 32] is a product on
// tensor cores. Both are split into two halves; three of the four products of parts are summed, which leaves out 2^-22 of a number. A
// lane has, of two of a tile's points, a quarter of the hidden numbers and of the outputs: those that it makes are those that it multiplies.
#include <algorithm>

#include "../../common/launch.cuh"
#include "cuda.h"
#include "tensor.cuh"

namespace ava {
namespace implicit {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarps = 4;  // of a block
constexpr int kTiles = 8;  // of 16 points: a decoding warp's, one after the other along z; a Gaussian warp's lane has as many points
constexpr int kDecodedPoints = 16 * kTiles;
constexpr int kScattered = 4;  // a Gaussian warp's lane's scattered points
constexpr float kHalfInPowers = -0.72134752f;  // exp(-q / 2) = 2^(this q)

__device__ __forceinline__ float WarpMin(float x) {
  for (int i = 16; i; i >>= 1) x = fminf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
}

__device__ __forceinline__ float WarpMax(float x) {
  for (int i = 16; i; i >>= 1) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
}

__device__ __forceinline__ void Span(Box* box, int axis, float low, float high) {
  low = WarpMin(low), high = WarpMax(high);
  box->center[axis] = 0.5f * low + 0.5f * high;
  box->half[axis] = fmaxf(high - box->center[axis], box->center[axis] - low);
}

// Calls run(e) for the elements that count in the box, in order.
template <class Run>
__device__ __forceinline__ void ForElements(const Field& f, const Box& box, int lane, const Run& run) {
  for (int base = 0; base < f.elements; base += 32) {
    const int own = base + lane;
    unsigned left = __ballot_sync(kAllLanes, own < f.elements && !Misses(f.head + static_cast<int64_t>(own) * kHead, box));
    for (; left; left &= left - 1) run(base + __ffs(left) - 1);
  }
}

// Where a warp is: rows of a grid along x, or scattered points one after the other. Points beyond the end repeat the last.
struct Corner {
  int64_t x, y, z;
};

__device__ __forceinline__ Corner BlockCorner(const Places& p, int width, int height, int depth) {
  const int64_t across = (p.size_x + width - 1) / width, down = (p.size_y + height - 1) / height, block = blockIdx.x;
  return {block % across * width, block / across % down * height, block / across / down * depth};
}

__device__ __forceinline__ float At(const float* axis, int64_t i, int64_t size) { return axis[i < size ? i : size - 1]; }

__device__ __forceinline__ bool IsNan(float x) { return x != x; }

// An element as a lane sees it; `rows` are its two points in a tile.
struct Frame {
  float matrix[9], constant, limit, affine[3], one;
};

__device__ __forceinline__ Frame Load(const float* head) {
  Frame e;
  for (int i = 0; i < 9; ++i) e.matrix[i] = __ldg(head + kMatrix + i);
  e.constant = __ldg(head + kConstant), e.limit = __ldg(head + kLimit), e.one = __ldg(head + kOne);
  for (int i = 0; i < 3; ++i) e.affine[i] = __ldg(head + kAffine + i);
  return e;
}

__device__ __forceinline__ float Affine(const float a[3], float b, const float l[3]) {
  return fmaf(l[0], a[0], fmaf(l[1], a[1], fmaf(l[2], a[2], b)));
}

__device__ __forceinline__ void Turn(const float m[9], float dx, float dy, float dz, float l[3]) {
  for (int i = 0; i < 3; ++i) l[i] = fmaf(m[3 * i], dx, fmaf(m[3 * i + 1], dy, m[3 * i + 2] * dz));
}

__device__ __forceinline__ float Square(const float l[3]) { return fmaf(l[0], l[0], fmaf(l[1], l[1], l[2] * l[2])); }

template <bool kGrid>
__global__ void __launch_bounds__(32 * kWarps, 3) Decode(Field f, Places p, float* out) {
  __shared__ float2 sums[kWarps][kTiles][32];  // each lane's own
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = lane >> 2, quarter = lane & 3;
  for (int m = 0; m < kTiles; ++m) sums[warp][m][lane] = make_float2(0.0f, 0.0f);

  // Rows of a tile: on a grid 8 places along x, 2 along y; scattered, 16 points.
  Corner corner = {};
  Box box;
  float x = 0, y[2] = {}, z = 0;  // z: of tile `lane` % 8
  int64_t first = 0;
  if constexpr (kGrid) {
    corner = BlockCorner(p, 8, 2 * kWarps, kTiles);
    corner.y += 2 * warp;
    x = At(p.x, corner.x + group, p.size_x), z = At(p.z, corner.z + (lane & 7), p.size_z);
    for (int r = 0; r < 2; ++r) y[r] = At(p.y, corner.y + r, p.size_y);
    Span(&box, 0, x, x), Span(&box, 1, fminf(y[0], y[1]), fmaxf(y[0], y[1])), Span(&box, 2, z, z);
  } else {
    first = (static_cast<int64_t>(blockIdx.x) * kWarps + warp) * kDecodedPoints;
    for (int axis = 0; axis < 3; ++axis) {
      float low = INFINITY, high = -INFINITY;
      for (int i = lane; i < kDecodedPoints; i += 32) {
        const float at = p.points[3 * min(first + i, p.count - 1) + axis];
        low = fminf(low, at), high = fmaxf(high, at);
      }
      Span(&box, axis, low, high);
    }
  }

  ForElements(f, box, lane, [&](int e) {
    const float* head = f.head + static_cast<int64_t>(e) * kHead;
    const Frame frame = Load(head);
    const float center[3] = {__ldg(head), __ldg(head + 1), __ldg(head + 2)};
    const float4* first_layer = reinterpret_cast<const float4*>(f.first) + static_cast<int64_t>(e) * kWidth;
    const float2* second_layer = reinterpret_cast<const float2*>(f.second) + static_cast<int64_t>(e) * kWidth;
    const uint4* dense = static_cast<const uint4*>(f.dense) + static_cast<int64_t>(e) * 256 + lane;
    uint4 weights[8];  // step along the inputs x tile of outputs: two registers of high parts, two of low parts
    float4 slopes[8];  // hidden number = slopes . l + w
    float2 outputs[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      weights[i] = __ldg(dense + 32 * i);
      slopes[i] = __ldg(first_layer + 8 * (i >> 1) + 2 * quarter + (i & 1));
      outputs[i] = __ldg(second_layer + 8 * (i >> 1) + 2 * quarter + (i & 1));
    }
    // On a grid all that is affine is a part of x and y, the same for all tiles, and a part of z.
    float plane[2][3], plane_hidden[2][8], along_hidden[8];
    if constexpr (kGrid) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        Turn(frame.matrix, x - center[0], y[r] - center[1], 0.0f, plane[r]);
#pragma unroll
        for (int i = 0; i < 8; ++i) plane_hidden[r][i] = Affine(&slopes[i].x, slopes[i].w, plane[r]);
      }
      const float along[3] = {frame.matrix[2], frame.matrix[5], frame.matrix[8]};
#pragma unroll
      for (int i = 0; i < 8; ++i) along_hidden[i] = Affine(&slopes[i].x, 0.0f, along);
    }
#pragma unroll 1
    for (int m = 0; m < kTiles; ++m) {
      float l[2][3], q[2], dz = 0.0f;
      if constexpr (kGrid) dz = __shfl_sync(kAllLanes, z, m) - center[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if constexpr (kGrid) {
          for (int i = 0; i < 3; ++i) l[r][i] = fmaf(frame.matrix[3 * i + 2], dz, plane[r][i]);
        } else {
          const float* at = p.points + 3 * min(first + 16 * m + group + 8 * r, p.count - 1);
          Turn(frame.matrix, at[0] - center[0], at[1] - center[1], at[2] - center[2], l[r]);
        }
        q[r] = Square(l[r]);
      }
      const bool counts[2] = {!(q[0] > frame.limit), !(q[1] > frame.limit)};
      if (!__any_sync(kAllLanes, counts[0] || counts[1])) continue;

      uint32_t high[2][4], low[2][4];  // a step along the inputs: (row, part) of (0, 0), (1, 0), (0, 1), (1, 1)
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          float hidden[2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int at = 2 * pair + i;
            hidden[i] = kGrid ? fmaf(along_hidden[at], dz, plane_hidden[r][at]) : Affine(&slopes[at].x, slopes[at].w, l[r]);
          }
          const int to = 2 * (pair & 1) + r;
          SplitPositive(hidden[0], hidden[1], &high[pair >> 1][to], &low[pair >> 1][to]);
        }
      }
      float value[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) value[r] = 0.25f * Affine(frame.affine, frame.one, l[r]);  // of each of four lanes
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        float sum[4] = {outputs[2 * n].x, outputs[2 * n + 1].x, outputs[2 * n].x, outputs[2 * n + 1].x};
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          const uint4 w = weights[4 * step + n];
          Multiply(sum, low[step], w.x, w.y);
          Multiply(sum, high[step], w.z, w.w);
          Multiply(sum, high[step], w.x, w.y);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) value[i >> 1] = fmaf(fmaxf(sum[i], 0.0f), outputs[2 * n + (i & 1)].y, value[i >> 1]);
      }
      float2 total = sums[warp][m][lane];
      if (counts[0]) total.x = fmaf(frame.constant * PowerOfTwo(kHalfInPowers * q[0]), value[0], total.x);
      if (counts[1]) total.y = fmaf(frame.constant * PowerOfTwo(kHalfInPowers * q[1]), value[1], total.y);
      sums[warp][m][lane] = total;
    }
  });

  for (int m = 0; m < kTiles; ++m) {
    const float zm = __shfl_sync(kAllLanes, z, m);
    const float2 part = sums[warp][m][lane];
    float total[2] = {part.x, part.y};
    for (int r = 0; r < 2; ++r) {
      total[r] += __shfl_xor_sync(kAllLanes, total[r], 1);
      total[r] += __shfl_xor_sync(kAllLanes, total[r], 2);
      if (quarter != r) continue;
      if constexpr (kGrid) {
        const int64_t column = corner.x + group, row = corner.y + r, slice = corner.z + m;
        if (column >= p.size_x || row >= p.size_y || slice >= p.size_z) continue;
        const bool bad = IsNan(x) || IsNan(y[r]) || IsNan(zm);
        out[(slice * p.size_y + row) * p.size_x + column] = bad ? NAN : total[r];
      } else {
        const int64_t i = first + 16 * m + group + 8 * r;
        if (i >= p.count) continue;
        const float* at = p.points + 3 * i;
        out[i] = IsNan(at[0]) || IsNan(at[1]) || IsNan(at[2]) ? NAN : total[r];
      }
    }
  }
}

// Elements without a decoder: on a grid a warp has 8 x 4 x kTiles points, a lane those of one x and y.
template <bool kGrid>
__global__ void __launch_bounds__(32 * kWarps) Gaussians(Field f, Places p, float* out) {
  constexpr int kOwn = kGrid ? kTiles : kScattered;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  Corner corner = {};
  Box box;
  float x[kOwn], y[kOwn], z[kOwn], total[kOwn];
  int64_t first = 0;
  if constexpr (kGrid) {
    corner = BlockCorner(p, 8, 4 * kWarps, kTiles);
    corner.x += lane & 7, corner.y += 4 * warp + (lane >> 3);
    x[0] = At(p.x, corner.x, p.size_x), y[0] = At(p.y, corner.y, p.size_y);
    float low = INFINITY, high = -INFINITY;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      z[i] = At(p.z, corner.z + i, p.size_z);
      low = fminf(low, z[i]), high = fmaxf(high, z[i]);
    }
    Span(&box, 0, x[0], x[0]), Span(&box, 1, y[0], y[0]), Span(&box, 2, low, high);
  } else {
    first = (static_cast<int64_t>(blockIdx.x) * kWarps + warp) * 32 * kScattered + lane;
    float low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float* at = p.points + 3 * min(first + 32 * i, p.count - 1);
      x[i] = at[0], y[i] = at[1], z[i] = at[2];
      for (int axis = 0; axis < 3; ++axis) low[axis] = fminf(low[axis], at[axis]), high[axis] = fmaxf(high[axis], at[axis]);
    }
    for (int axis = 0; axis < 3; ++axis) Span(&box, axis, low[axis], high[axis]);
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) total[i] = 0.0f;

  ForElements(f, box, lane, [&](int e) {
    const float* head = f.head + static_cast<int64_t>(e) * kHead;
    const Frame frame = Load(head);
    const float center[3] = {__ldg(head), __ldg(head + 1), __ldg(head + 2)};
    float plane[3];
    if constexpr (kGrid) Turn(frame.matrix, x[0] - center[0], y[0] - center[1], 0.0f, plane);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      float l[3];
      if constexpr (kGrid) {
        for (int k = 0; k < 3; ++k) l[k] = fmaf(frame.matrix[3 * k + 2], z[i] - center[2], plane[k]);
      } else {
        Turn(frame.matrix, x[i] - center[0], y[i] - center[1], z[i] - center[2], l);
      }
      const float q = Square(l);
      if (!(q > frame.limit)) total[i] = fmaf(frame.constant, PowerOfTwo(kHalfInPowers * q), total[i]);
    }
  });

#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int axes = kGrid ? 0 : i;
    const float value = IsNan(x[axes]) || IsNan(y[axes]) || IsNan(z[i]) ? NAN : total[i];
    if constexpr (kGrid) {
      const int64_t slice = corner.z + i;
      if (corner.x < p.size_x && corner.y < p.size_y && slice < p.size_z) out[(slice * p.size_y + corner.y) * p.size_x + corner.x] = value;
    } else if (first + 32 * i < p.count) {
      out[first + 32 * i] = value;
    }
  }
}

int64_t Parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

}  // namespace

cudaError_t CudaEvaluate(const Field& f, const Places& p, float* out, cudaStream_t stream) {
  const bool grid = p.points == nullptr, decoded = f.first != nullptr;
  if (p.count == 0) return cudaSuccess;
  const int64_t height = decoded ? 2 * kWarps : 4 * kWarps;
  const int64_t blocks = grid ? Parts(p.size_x, 8) * Parts(p.size_y, height) * Parts(p.size_z, kTiles)
                              : Parts(p.count, kWarps * (decoded ? kDecodedPoints : 32 * kScattered));
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  const auto kernel = decoded ? (grid ? Decode<true> : Decode<false>) : (grid ? Gaussians<true> : Gaussians<false>);
  Launch(kernel, static_cast<unsigned>(blocks), 32 * kWarps, stream, f, p, out);
  return cudaGetLastError();
}

}  // namespace implicit
}  // namespace ava
