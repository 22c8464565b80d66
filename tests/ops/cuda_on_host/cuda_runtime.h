// As much of CUDA as the raymarcher's forward kernels use, on the host: a thread block's threads are fibers that take turns, and wait for
// each other where lanes or threads meet. For tests on machines without a GPU; raymarch_cuda_host_test.py adapts the sources to it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // one thread block runs at a time

using std::isfinite;
using std::max;
using std::min;

using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

struct float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct int2 { int x, y; };
struct ushort2 { unsigned short x, y; };
struct uint4 { unsigned x, y, z, w; };
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline ushort2 make_ushort2(unsigned short x, unsigned short y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace host {

struct Index { unsigned x; };

// Threads that meet: the last to come lets all go on. What they bring is kept until all have met once more.
struct Meeting {
  uint32_t brought[2][32];
  int here = 0;
  unsigned met = 0;
};

extern std::vector<Meeting> warps;
extern Meeting block;
extern int threads;

void Yield();  // to the thread block's other threads
void Launch(unsigned blocks, int threads_a_block, std::function<void()> kernel);

inline void Meet(Meeting* meeting, int all) {
  const unsigned met = meeting->met;
  if (++meeting->here == all) {
    meeting->here = 0;
    ++meeting->met;
  }
  while (meeting->met == met) Yield();
}

}  // namespace host

extern host::Index threadIdx, blockIdx, gridDim;

namespace host {

template <class To, class From>
To Bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline const uint32_t* Exchange(uint32_t mine) {
  Meeting* warp = &warps[threadIdx.x / 32];
  uint32_t* brought = warp->brought[warp->met % 2];
  brought[threadIdx.x % 32] = mine;
  Meet(warp, 32);
  return brought;
}

inline float RoundDown(double x) {
  const float near = static_cast<float>(x);
  return static_cast<double>(near) > x ? std::nextafter(near, -INFINITY) : near;
}

}  // namespace host

inline void __syncthreads() { host::Meet(&host::block, host::threads); }
inline void __syncwarp() { host::Exchange(0); }
inline void __threadfence() {}

inline unsigned __ballot_sync(unsigned, bool mine) {
  const uint32_t* brought = host::Exchange(mine);
  unsigned mask = 0;
  for (int i = 0; i < 32; ++i) mask |= static_cast<unsigned>(brought[i] != 0) << i;
  return mask;
}
inline bool __any_sync(unsigned lanes, bool mine) { return __ballot_sync(lanes, mine) != 0; }
inline bool __all_sync(unsigned lanes, bool mine) { return __ballot_sync(lanes, mine) == 0xffffffffu; }

template <class T>
T __shfl_sync(unsigned, T mine, int lane) {
  return host::Bits<T>(host::Exchange(host::Bits<uint32_t>(mine))[lane % 32]);
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T mine, int other) {
  return __shfl_sync(lanes, mine, static_cast<int>(threadIdx.x % 32) ^ other);
}
template <class T>
T __shfl_up_sync(unsigned lanes, T mine, int below) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(lanes, mine, lane >= below ? lane - below : lane);
}

inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __clz(unsigned x) { return x == 0 ? 32 : __builtin_clz(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <class T>
T __ldg(const T* at) { return *at; }
template <class T>
T __ldcg(const T* at) { return *at; }
inline int atomicAdd(int* at, int x) {
  const int before = *at;
  *at += x;
  return before;
}
inline unsigned __float_as_uint(float x) { return host::Bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return host::Bits<float>(x); }
inline int __float_as_int(float x) { return host::Bits<int>(x); }
inline float __int_as_float(int x) { return host::Bits<float>(x); }
inline float __fmaf_rd(float a, float b, float c) { return host::RoundDown(static_cast<double>(a) * b + c); }
inline float __fadd_rd(float a, float b) { return host::RoundDown(static_cast<double>(a) + b); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
