// Eight float lanes on compiler vector types: the same source becomes SSE2, NEON, AVX2 or AVX-512.
//
// Everything sits in an unnamed namespace: files that include this are compiled once per instruction set, and a function
// shared between them could be replaced by the linker with one that the processor cannot run.
#pragma once

#include <cstdint>
#include <cstring>

namespace ava {
namespace {

constexpr int kLanes = 8;

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef float Float4 __attribute__((vector_size(16)));

#define AVA_LANES static inline __attribute__((always_inline))

AVA_LANES Floats LoadFloats(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

AVA_LANES void Store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }

AVA_LANES Ints LoadInts(const int32_t* p) {
  Ints v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

AVA_LANES void Store(int32_t* p, Ints v) { std::memcpy(p, &v, sizeof v); }

AVA_LANES Float4 LoadFloat4(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

AVA_LANES void Store(float* p, Float4 v) { std::memcpy(p, &v, sizeof v); }

AVA_LANES Floats Splat(float x) { return Floats{x, x, x, x, x, x, x, x}; }

AVA_LANES Ints SplatInt(int32_t x) { return Ints{x, x, x, x, x, x, x, x}; }

AVA_LANES Floats LaneIndex() { return Floats{0, 1, 2, 3, 4, 5, 6, 7}; }

AVA_LANES Ints ToInts(Floats x) { return __builtin_convertvector(x, Ints); }

AVA_LANES Floats ToFloats(Ints x) { return __builtin_convertvector(x, Floats); }

// The second argument where the first is NaN, as the hardware's instructions do.
AVA_LANES Floats Min(Floats a, Floats b) { return a < b ? a : b; }

AVA_LANES Floats Max(Floats a, Floats b) { return a > b ? a : b; }

AVA_LANES Floats Reciprocal(Floats x) { return 1.0f / x; }

AVA_LANES Floats Truncate(Floats x) { return ToFloats(ToInts(x)); }

// exp(x) / 2^k, k being the integer nearest to x / ln 2.
AVA_LANES Floats ExpOverPower(Floats x, Ints k) {
  const Floats n = ToFloats(k);
  const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  Floats p = r * 1.3888889e-3f + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  return p * r + 1.0f;
}

// exp(x) for x in [-80, 0], to 2 units in the last place.
AVA_LANES Floats Exp(Floats x) {
  const Ints k = ToInts(x * 1.44269504f - 0.5f);  // towards zero: the nearest integer
  const Floats p = ExpOverPower(x, k);
  const Ints bits = (k + 127) << 23;
  Floats power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

AVA_LANES float Sum(Float4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

AVA_LANES float Sum(Floats v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

AVA_LANES bool Any(Ints mask) {
  int32_t any = 0;
  for (int i = 0; i < kLanes; ++i) any |= mask[i];
  return any != 0;
}

}  // namespace
}  // namespace ava
