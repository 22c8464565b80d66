// Products of halves on tensor cores, and how floats become halves for them.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace ava {
namespace implicit {
namespace {

__device__ __forceinline__ uint32_t Bits(__half2 x) { return *reinterpret_cast<uint32_t*>(&x); }

// Two numbers' positive parts, 0 for negative ones, each as a sum of two halves: 22 bits of each. The parts' pairs lie as a product takes them.
__device__ __forceinline__ void SplitPositive(float a, float b, uint32_t* high, uint32_t* low) {
  // The upper half of a float's mantissa is a half's.
  const float a_high = __uint_as_float(__float_as_uint(a) & 0xffffe000u), b_high = __uint_as_float(__float_as_uint(b) & 0xffffe000u);
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(*high) : "f"(b_high), "f"(a_high));
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(*low) : "f"(b - b_high), "f"(a - a_high));
#else
  *high = Bits(__floats2half2_rn(fmaxf(a_high, 0.0f), fmaxf(b_high, 0.0f)));
  *low = Bits(__floats2half2_rn(fmaxf(a - a_high, 0.0f), fmaxf(b - b_high, 0.0f)));
#endif
}

// out[16 x 8] += a[16 x 16] b[16 x 8], spread over a warp as mma.m16n8k16 has it; sums are float32.
__device__ __forceinline__ void Multiply(float out[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(out[0]), "+f"(out[1]), "+f"(out[2]), "+f"(out[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(out[0]), "+f"(out[1]), "+f"(out[2]), "+f"(out[3])
      : "r"(a[0]), "r"(a[1]), "r"(b0));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(out[0]), "+f"(out[1]), "+f"(out[2]), "+f"(out[3])
      : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// 2^x, to 2 units in the last place.
__device__ __forceinline__ float PowerOfTwo(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

}  // namespace
}  // namespace implicit
}  // namespace ava
