// Sums by atomic additions that give the same bits whoever comes first: of integers, multiples of a power of two.
//
// The power is such that the sum of all terms' magnitudes stays below 2^60: then it cannot overflow. With `bits` for the number of terms
// and a term of at most 2^(e - 1022), each is rounded by 2^(e - 1083 + bits), the 2^-(61 - bits)th part of the largest: with a million
// terms 2^-41, where the rounding of one float is 2^-24.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace ava {
namespace {

using Fixed = unsigned long long;  // two's complement: atomic additions take it

constexpr int kNotFinite = 2047;   // an exponent of infinities and NaN
constexpr int kLeastExponent = 128;  // what is smaller is taken for 0; 2^-k must be a number below
constexpr long long kSpoilt = 1ll << 62;  // what a sum is raised to that something not finite belongs to

__device__ __forceinline__ double FromBits64(long long bits) {
#ifdef __CUDACC__
  return __longlong_as_double(bits);
#else
  return fibers::FromBits<double>(bits);
#endif
}

// |x| < 2^(exponent - 1022); 0 of 0.
__device__ __forceinline__ int ExponentOf(double x) {
#ifdef __CUDACC__
  const long long bits = __double_as_longlong(x);
#else
  const long long bits = static_cast<long long>(fibers::ToBits(x));
#endif
  const int exponent = static_cast<int>(bits >> 52 & 2047);
  return x == 0.0 ? 0 : exponent > kLeastExponent ? exponent : kLeastExponent;
}

__device__ __forceinline__ double PowerOfTwo(int k) { return FromBits64(static_cast<long long>(k + 1023) << 52); }

// Of 2^bits terms below 2^(exponent - 1022).
__device__ __forceinline__ int ScaleOf(int exponent, int bits) { return 60 - bits - (exponent - 1022); }

__device__ __forceinline__ Fixed ToFixed(double x, int scale) {
#ifdef __CUDACC__
  return static_cast<Fixed>(__double2ll_rn(x * PowerOfTwo(scale)));
#else
  return static_cast<Fixed>(std::llrint(x * PowerOfTwo(scale)));
#endif
}

__device__ __forceinline__ float FromFixed(Fixed sum, int scale) {
  return static_cast<float>(static_cast<double>(static_cast<long long>(sum)) * PowerOfTwo(-scale));
}

// Bits for `terms`: they are at most 2^bits.
inline int BitsFor(int64_t terms) {
  int bits = 0;
  while (bits < 40 && (int64_t{1} << bits) < terms) ++bits;
  return bits;
}

inline unsigned BlocksFor(int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); }

}  // namespace
}  // namespace ava
