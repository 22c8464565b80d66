// Numbers that decide which way the kernels take.
#pragma once

#include <cstdint>

#include "../params.h"

namespace ava {
namespace raymarch {

// The tests also compile with smaller ones, so that small scenes take each way.
constexpr int Limit([[maybe_unused]] int usual, [[maybe_unused]] int of_tests) {
#ifdef AVA_SMALL_LIMITS
  return of_tests;
#else
  return usual;
#endif
}

// With fewer than so many primitives of side 8 each takes four warps of the backward pass: one each would leave most of a GPU idle.
constexpr int64_t kFourWarpPrimitives = Limit(2048, 24);
// With fewer than so many each takes two, if they are so large (pixels a primitive, of a frame): the largest would end long after the
// others.
constexpr int64_t kTwoWarpPrimitives = Limit(32768, 80), kTwoWarpPixels = Limit(80, 1);

// Warps of the backward pass that share a primitive of side 8.
inline int WarpsOfPrimitive(const Shape& s) {
  const int64_t count = s.frames * s.primitives;
  if (count < kFourWarpPrimitives) return 4;
  return count < kTwoWarpPrimitives && s.views * s.height * s.width >= kTwoWarpPixels * s.primitives ? 2 : 1;
}

}  // namespace raymarch
}  // namespace ava
