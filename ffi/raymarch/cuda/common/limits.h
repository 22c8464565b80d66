// Numbers that decide which way the kernels take.
#pragma once

#include <cstdint>

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

}  // namespace raymarch
}  // namespace ava
