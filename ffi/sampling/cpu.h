// Weighted reads of pixels, as bilinear sampling has them, at the same points in all images; on CPU threads.
//
// Memory beyond inputs and outputs: none. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "../common/parallel.h"

namespace ava {
namespace sampling {

// Of images [batch, pixels, channels] and points with 4 corners each, index and weights [4, points].
struct Shape {
  int64_t batch, pixels, channels, points;
};

// out [batch, points, channels]. All indices must lie in 0 ... pixels - 1: `Inside`.
void Read(const Shape& s, const float* images, const int32_t* index, const float* weights, float* out, const Pool& pool);
bool Inside(const Shape& s, const int32_t* index);
// Gradients by images and weights under the cotangent [batch, points, channels].
void ReadGradient(const Shape& s, const float* images, const int32_t* index, const float* weights, const float* cotangent,
                  float* d_images, float* d_weights, const Pool& pool);

}  // namespace sampling
}  // namespace ava
