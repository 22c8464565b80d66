// The inner loops between slabs and voxels, of which there is one copy for each instruction set.
#pragma once

#include <cstdint>

namespace ava {
namespace voxels {

// A slab of S x S texels is cut into boxes of `side` x `side`; a texel's `side` depths are the box's voxels above it.
struct Layout {
  int64_t batch, slab, side;  // S is a multiple of side
  float scale, offset;        // of colours: relu(scale x + offset)
};

// What both directions read and write; rows of texels of all images are counted through.
struct Arrays {
  const float* colour;       // [batch, S, S, 3 side]
  const float* log_opacity;  // [batch, S, S, side]
  float* rgba;               // [batch, (S / side)^2, side (z), side (y), side (x), 4]
};

struct GradientArrays {
  const float* rgba;
  const float* cotangent;  // as rgba
  float* d_colour;
  float* d_log_opacity;
};

struct Kernels {
  void (*forward)(const Layout&, const Arrays&, int64_t row);
  void (*backward)(const Layout&, const GradientArrays&, int64_t row);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace voxels
}  // namespace ava
