// What cpu.cc schedules and kernel.cc computes: kernel.cc is compiled once per instruction set, so only plain types pass.
#pragma once

#include <cstdint>

#include "sample.h"

namespace ava {
namespace texture {

// One image's reads of one texture [texels, channels].
struct Reads {
  const float* texels;
  const float* uv;     // [pixels, 2]
  const float* level;  // [pixels], null for level 0
  const bool* where;   // [pixels], null for everywhere; 0 is read elsewhere
  int64_t channels;
  Levels levels;
  Filter filter;
  Wrap wrap;
};

constexpr int32_t kPartRows = 32;  // rows of texels that one part owns before the next does

struct Kernels {
  // Of pixels [first, last).
  void (*read)(const Reads&, int64_t first, int64_t last, float* out);
  // `d_level` null where there are no levels.
  void (*locate)(const Reads&, int64_t first, int64_t last, const float* cotangent, float* d_uv, float* d_level);
  // Adds the gradient of the texels in rows of part `part` of `parts`.
  void (*spread)(const Reads&, int64_t first, int64_t last, const float* cotangent, int32_t part, int32_t parts, float* d_texels);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace texture
}  // namespace ava
