// As much of CUDA as the raymarcher's kernels use, for a CPU: see fibers.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "fibers.h"

#define __device__
#define __host__
#define __global__
// In a section of their own, to be filled before a thread block begins. Thread blocks go one after the other.
#define __shared__ static __attribute__((section("fibers_shared")))
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(4) ushort2 {
  unsigned short x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline ushort2 make_ushort2(unsigned short x, unsigned short y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum { cudaFuncAttributeMaxDynamicSharedMemorySize, cudaFuncAttributePreferredSharedMemoryCarveout };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int) {
  return cudaSuccess;
}
enum { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 2 : 227 << 10;
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return fibers::LastError(); }

using std::isfinite;
using std::max;
using std::min;

namespace fibers {

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

inline float RoundDown(double x) {
  const float near = static_cast<float>(x);
  return near > x ? std::nextafter(near, -INFINITY) : near;
}

template <class T, class Combine>
T Reduce(unsigned lanes, T x, int line, Combine combine) {
  const uint64_t* values = Meet(lanes, ToBits(x), line);
  T result = FromBits<T>(values[0]);
  for (unsigned i = 1; i < kLanes; ++i) result = combine(result, FromBits<T>(values[i]));
  return result;
}

}  // namespace fibers

#define threadIdx (fibers::thread)
#define blockIdx (fibers::block)
#define gridDim (fibers::grid)

#define FIBERS_LINE int line = __builtin_LINE()

inline void __syncthreads() { fibers::MeetBlock(); }
inline void __syncwarp(unsigned lanes = 0xffffffffu, FIBERS_LINE) { fibers::Meet(lanes, 0, line, true); }
inline void __threadfence() {}
inline void __threadfence_block() {}

inline unsigned __ballot_sync(unsigned lanes, bool predicate, FIBERS_LINE) {
  const uint64_t* values = fibers::Meet(lanes, predicate, line);
  unsigned mask = 0;
  for (unsigned i = 0; i < fibers::kLanes; ++i) mask |= static_cast<unsigned>(values[i]) << i;
  return mask;
}

inline bool __any_sync(unsigned lanes, bool predicate, FIBERS_LINE) { return __ballot_sync(lanes, predicate, line) != 0; }
inline bool __all_sync(unsigned lanes, bool predicate, FIBERS_LINE) { return __ballot_sync(lanes, predicate, line) == lanes; }

template <class T>
unsigned __match_any_sync(unsigned lanes, T x, FIBERS_LINE) {
  const uint64_t* values = fibers::Meet(lanes, fibers::ToBits(x), line);
  unsigned mask = 0;
  for (unsigned i = 0; i < fibers::kLanes; ++i) mask |= (values[i] == fibers::ToBits(x) ? 1u : 0u) << i;
  return mask;
}

inline unsigned __reduce_or_sync(unsigned lanes, unsigned x, FIBERS_LINE) {
  return fibers::Reduce(lanes, x, line, [](unsigned a, unsigned b) { return a | b; });
}
template <class T>
T __reduce_min_sync(unsigned lanes, T x, FIBERS_LINE) {
  return fibers::Reduce(lanes, x, line, [](T a, T b) { return a < b ? a : b; });
}
template <class T>
T __reduce_max_sync(unsigned lanes, T x, FIBERS_LINE) {
  return fibers::Reduce(lanes, x, line, [](T a, T b) { return a > b ? a : b; });
}

template <class T>
T __shfl_sync(unsigned lanes, T x, unsigned from, FIBERS_LINE) {
  return fibers::FromBits<T>(fibers::Meet(lanes, fibers::ToBits(x), line)[from % fibers::kLanes]);
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T x, unsigned with, FIBERS_LINE) {
  return __shfl_sync(lanes, x, fibers::Lane() ^ with, line);
}
template <class T>
T __shfl_up_sync(unsigned lanes, T x, unsigned by, FIBERS_LINE) {
  return __shfl_sync(lanes, x, fibers::Lane() >= by ? fibers::Lane() - by : fibers::Lane(), line);
}
template <class T>
T __shfl_down_sync(unsigned lanes, T x, unsigned by, FIBERS_LINE) {
  return __shfl_sync(lanes, x, fibers::Lane() + by < fibers::kLanes ? fibers::Lane() + by : fibers::Lane(), line);
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

inline size_t __cvta_generic_to_shared(const void* p) {
  return static_cast<size_t>(static_cast<const char*>(p) - reinterpret_cast<const char*>(fibers::shared_memory));
}
inline void* __cvta_shared_to_generic(size_t at) { return reinterpret_cast<char*>(fibers::shared_memory) + at; }

inline int atomicAdd(int* p, int x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
// A lock is taken and given back with these, and a fence after and before, which ThreadSanitizer does not follow: here they order themselves.
inline int atomicExch(int* p, int x) { return __atomic_exchange_n(p, x, __ATOMIC_RELEASE); }
inline int atomicCAS(int* p, int expected, int x) {
  __atomic_compare_exchange_n(p, &expected, x, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
  return expected;
}
inline unsigned atomicOr(unsigned* p, unsigned bits) { return __atomic_fetch_or(p, bits, __ATOMIC_RELAXED); }
