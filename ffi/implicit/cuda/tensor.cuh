// Products of halves on tensor cores, and how floats become halves for them. In C++ too, for the tests on CPUs.
#pragma once

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

#include <cstdint>
#include <cstring>

namespace ava {
namespace implicit {
namespace {

// Halves of the positive parts of two numbers, 0 for negative ones.
__device__ __forceinline__ uint32_t PositiveHalves(float a, float b) {
  uint32_t halves;
#if !defined(__CUDACC__)
  const _Float16 both[2] = {static_cast<_Float16>(a > 0 ? a : 0.0f), static_cast<_Float16>(b > 0 ? b : 0.0f)};
  std::memcpy(&halves, both, sizeof halves);
#elif __CUDA_ARCH__ >= 800
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(b), "f"(a));
#else
  const __half2 both = __floats2half2_rn(fmaxf(a, 0.0f), fmaxf(b, 0.0f));
  halves = *reinterpret_cast<const uint32_t*>(&both);
#endif
  return halves;
}

// The positive parts of two numbers, each as a sum of two halves, which has 22 bits of it. The pairs lie as a product takes them.
__device__ __forceinline__ void SplitPositive(float a, float b, uint32_t* high, uint32_t* low) {
  // The upper bits of a float's mantissa are a half's.
  const float a_high = __uint_as_float(__float_as_uint(a) & 0xffffe000u), b_high = __uint_as_float(__float_as_uint(b) & 0xffffe000u);
  *high = PositiveHalves(a_high, b_high);
  *low = PositiveHalves(a - a_high, b - b_high);
}

#if !defined(__CUDACC__)
inline float HalfOf(uint32_t pair, int which) {
  const uint16_t bits = static_cast<uint16_t>(pair >> (16 * which));
  _Float16 half;
  std::memcpy(&half, &bits, sizeof half);
  return half;
}
#endif

// out[16 x 8] += a[16 x 16] b[16 x 8], spread over a warp as mma.m16n8k16 has it; sums are float32.
__device__ __forceinline__ void Multiply(float out[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
#if !defined(__CUDACC__)
  const unsigned lane = fibers::Lane(), group = lane / 4, quarter = lane % 4;
  const uint32_t b[2] = {b0, b1};
  for (unsigned from = 0; from < 4; ++from) {  // the lane of a row's, or a column's, four
    for (int part = 0; part < 2; ++part) {     // inputs 2 from + 8 part, and the next
      uint32_t rows[2], columns[2];
      for (int r = 0; r < 2; ++r) rows[r] = __shfl_sync(0xffffffffu, a[2 * part + r], 4 * group + from);
      for (int c = 0; c < 2; ++c) columns[c] = __shfl_sync(0xffffffffu, b[part], 4 * (2 * quarter + c) + from);
      for (int i = 0; i < 4; ++i) {
        for (int half = 0; half < 2; ++half) out[i] += HalfOf(rows[i >> 1], half) * HalfOf(columns[i & 1], half);
      }
    }
  }
#elif __CUDA_ARCH__ >= 800
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

// 2^x, to 2 units in the last place; 0 where that is subnormal.
__device__ __forceinline__ float PowerOfTwo(float x) {
  float power;
#if defined(__CUDACC__)
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
#else
  power = fibers::Flushed(exp2f(x));
#endif
  return power;
}

}  // namespace
}  // namespace implicit
}  // namespace ava
