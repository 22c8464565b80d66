// What cpu.cc schedules and kernel.cc computes: kernel.cc is compiled once per instruction set, so only plain types pass.
#pragma once

#include <cstdint>

#include "field.h"

namespace ava {
namespace implicit {

constexpr int kPoints = 16;  // that go through the loops together

struct Kernels {
  // Values of the listed elements' sum at `vectors` times 16 points, whose coordinates come in 16 x, 16 y, 16 z for each vector.
  void (*evaluate)(const Field&, const int32_t* list, int32_t count, const float* points, int64_t vectors, float* out);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace implicit
}  // namespace ava
