// As much of CUDA as the raymarcher's kernels use, on one CPU thread: each thread of a thread block is a fiber, and runs on
// until it meets the others of its warp, or of its block. What a kernel may not count on, which lane is ahead between two
// meetings, is for the caller to choose. raymarch_fibers_test.py translates what is no C++: launches, dynamic shared memory, PTX.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __shared__ static  // thread blocks go one after the other
#define __forceinline__ inline
#define __launch_bounds__(...)

struct float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct int2 {
  int x, y;
};
struct ushort2 {
  unsigned short x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline ushort2 make_ushort2(unsigned short x, unsigned short y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum { cudaFuncAttributeMaxDynamicSharedMemorySize, cudaFuncAttributePreferredSharedMemoryCarveout };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int) {
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

using std::isfinite;
using std::max;
using std::min;

namespace fibers {

constexpr int kLanes = 32;

struct Index {
  unsigned x;
};

struct Warp {
  uint64_t values[2][kLanes];  // that the lanes brought to this meeting, and to the one before
  int lines[2][kLanes];        // of the source, where they meet
  int arrived = 0, meetings = 0;
};

enum class Order { kAscending, kDescending, kMixed };

extern Index thread, block, grid;
extern char* shared_memory;
extern int64_t few_primitives;

// Runs a kernel, thread block after thread block; each lane runs on to its next meeting in `order`.
void Launch(const std::function<void()>& kernel, unsigned blocks, unsigned threads, size_t shared_bytes, cudaStream_t stream);
void SetOrder(Order order);

// What all lanes of the warp brought. Aborts if they are at different lines: a GPU would hang, or worse.
const uint64_t* Meet(uint64_t value, int line);
void MeetBlock();

template <class T>
uint64_t ToBits(T x) {
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}

template <class T, class Bits>
T FromBits(Bits bits) {
  T x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline int Lane() { return static_cast<int>(thread.x % kLanes); }

inline float RoundDown(double x) {
  const float near = static_cast<float>(x);
  return near > x ? std::nextafter(near, -INFINITY) : near;
}

// As the GPU's approximations: infinite for what is subnormal.
inline float Reciprocal(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(INFINITY, x) : 1.0f / x; }

}  // namespace fibers

#define threadIdx (fibers::thread)
#define blockIdx (fibers::block)
#define gridDim (fibers::grid)

#define AVA_LINE int line = __builtin_LINE()

inline void __threadfence() {}
inline void __syncthreads() { fibers::MeetBlock(); }
inline void __syncwarp(AVA_LINE) { fibers::Meet(0, line); }

inline unsigned __ballot_sync(unsigned, bool predicate, AVA_LINE) {
  const uint64_t* values = fibers::Meet(predicate, line);
  unsigned mask = 0;
  for (int i = 0; i < fibers::kLanes; ++i) mask |= static_cast<unsigned>(values[i]) << i;
  return mask;
}

inline bool __any_sync(unsigned all, bool predicate, AVA_LINE) { return __ballot_sync(all, predicate, line) != 0; }

inline bool __all_sync(unsigned all, bool predicate, AVA_LINE) { return __ballot_sync(all, predicate, line) == ~0u; }

template <class T>
unsigned __match_any_sync(unsigned, T x, AVA_LINE) {
  const uint64_t* values = fibers::Meet(fibers::ToBits(x), line);
  unsigned mask = 0;
  for (int i = 0; i < fibers::kLanes; ++i) mask |= (values[i] == fibers::ToBits(x) ? 1u : 0u) << i;
  return mask;
}

template <class T>
T __shfl_sync(unsigned, T x, int from, AVA_LINE) {
  return fibers::FromBits<T>(fibers::Meet(fibers::ToBits(x), line)[from % fibers::kLanes]);
}

template <class T>
T __shfl_xor_sync(unsigned all, T x, int with, AVA_LINE) {
  return __shfl_sync(all, x, fibers::Lane() ^ with, line);
}

template <class T>
T __shfl_up_sync(unsigned all, T x, int by, AVA_LINE) {
  return __shfl_sync(all, x, fibers::Lane() >= by ? fibers::Lane() - by : fibers::Lane(), line);
}

template <class T>
T __shfl_down_sync(unsigned all, T x, int by, AVA_LINE) {
  return __shfl_sync(all, x, fibers::Lane() + by < fibers::kLanes ? fibers::Lane() + by : fibers::Lane(), line);
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(unsigned x) { return x != 0 ? __builtin_clz(x) : 32; }
inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline float __int_as_float(int x) { return fibers::FromBits<float>(x); }
inline float __uint_as_float(unsigned x) { return fibers::FromBits<float>(x); }
inline int __float_as_int(float x) { return fibers::FromBits<int>(x); }
inline unsigned __float_as_uint(float x) { return fibers::FromBits<unsigned>(x); }
inline float __fmaf_rd(float a, float b, float c) { return fibers::RoundDown(static_cast<double>(a) * b + c); }
inline float __fadd_rd(float a, float b) { return fibers::RoundDown(static_cast<double>(a) + b); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

template <class T>
T __ldg(const T* p) {
  return *p;
}

template <class T>
T __ldcg(const T* p) {
  return *p;
}

inline int atomicAdd(int* p, int x) {
  const int before = *p;
  *p += x;
  return before;
}

inline unsigned atomicOr(unsigned* p, unsigned bits) {
  const unsigned before = *p;
  *p |= bits;
  return before;
}
