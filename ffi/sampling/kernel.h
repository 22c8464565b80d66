// The inner loops of bilinear reads, of which there is one copy for each instruction set.
#pragma once

#include <cstdint>

namespace ava {
namespace sampling {

constexpr int kCorners = 4;

// Pixels of one image, read at points: out[p] = sum over corners of pixels[index[corner][p]] * weights[corner][p].
struct Reads {
  int64_t points, channels;
  const int32_t* index;  // [kCorners, points]
  const float* weights;  // [kCorners, points]
};

struct Kernels {
  // Points [first, last) of an image: pixels [Q, channels] to out [points, channels].
  void (*read)(const Reads&, const float* pixels, int64_t first, int64_t last, float* out);
  // The same points' gradients by weights, added to d_weights [kCorners, points].
  void (*weigh)(const Reads&, const float* pixels, const float* cotangent, int64_t first, int64_t last, float* d_weights);
  // Channels [first, last) of all points' gradients by pixels, added to d_pixels.
  void (*spread)(const Reads&, const float* cotangent, int64_t first, int64_t last, float* d_pixels);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace sampling
}  // namespace ava
