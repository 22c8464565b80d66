// What the kernels use that only nvcc compiles: launches, dynamic shared memory, PTX. Each is written in C++ too: the tests also build the
// kernels for a CPU, where tests/ops/fibers/cuda_runtime.h stands in for the rest of CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#ifdef __CUDACC__
#define AVA_DYNAMIC_SHARED(name) extern __shared__ float4 name[]
#else
#define AVA_DYNAMIC_SHARED(name) float4* const name = fibers::shared_memory
#endif

namespace ava {
namespace raymarch {
namespace {

// cudaGetLastError says whether it was launched.
template <class... Parameters, class... Arguments>
void LaunchKernel(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, size_t shared_bytes, cudaStream_t stream,
                  const Arguments&... arguments) {
#ifdef __CUDACC__
  kernel<<<blocks, threads, shared_bytes, stream>>>(arguments...);
#else
  fibers::Launch([=] { kernel(arguments...); }, blocks, threads, shared_bytes, stream);
#endif
}

// Infinite where x is 0 or subnormal.
__device__ __forceinline__ float Reciprocal(float x) {
  float inverse;
#ifdef __CUDACC__
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
#else
  inverse = fibers::Flushed(1.0f / fibers::Flushed(x));
#endif
  return inverse;
}

// 0 where x is subnormal.
__device__ __forceinline__ float SquareRoot(float x) {
  float root;
#ifdef __CUDACC__
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
#else
  root = sqrtf(fibers::Flushed(x));
#endif
  return root;
}

// For x in [-24, 0]: no result is subnormal.
__device__ __forceinline__ float Exp(float x) {
  float power;
#ifdef __CUDACC__
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.44269504f));
#else
  power = exp2f(x * 1.44269504f);
#endif
  return power;
}

// To shared memory; done when the thread has called AwaitCopies.
__device__ __forceinline__ void CopyAsync(float4* to, const float4* from) {
#if !defined(__CUDACC__)
  fibers::CopyLater(to, from);
#elif __CUDA_ARCH__ >= 800
  const unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from) : "memory");
#else
  *to = *from;
#endif
}

__device__ __forceinline__ void AwaitCopies() {
#if !defined(__CUDACC__)
  fibers::CopyNow();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Brings memory nearer that will be read soon: by one lane, a multiple of 16 bytes.
__device__ __forceinline__ void Prefetch([[maybe_unused]] const void* from, [[maybe_unused]] unsigned bytes) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes));
#endif
}

// From memory that no one writes; what the L2 does not hold of the 128 bytes around it is brought there, too.
__device__ __forceinline__ float4 LoadRow(const float4* from) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 750
  float4 v;
  asm("ld.global.nc.L2::128B.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(from));
  return v;
#else
  return __ldg(from);
#endif
}

__device__ __forceinline__ uint2 LoadRow(const uint2* from) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 750
  uint2 v;
  asm("ld.global.nc.L2::128B.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
#else
  return __ldg(from);
#endif
}

// The same number, which is then kept in a register: nvcc would rather compute it anew wherever it is used.
__device__ __forceinline__ float Pinned(float x) {
  unsigned bits = __float_as_uint(x);
  asm volatile("" : "+r"(bits));
  return __uint_as_float(bits);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
