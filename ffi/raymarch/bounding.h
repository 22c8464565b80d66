// The sphere around a primitive, for host and device.
#pragma once

#include <cmath>

#include "march.h"

namespace ava {
namespace raymarch {

// Largest distance of a corner of the box from its centre: y = matrix x, so the corners are the inverse's columns, summed.
// Infinite for a box without an end; NaN goes through.
AVA_INLINE float BoundingRadius(const Pose& pose) {
  double m[9];
  for (int i = 0; i < 9; ++i) m[i] = pose.matrix[i];
  const double c[9] = {m[4] * m[8] - m[5] * m[7], m[2] * m[7] - m[1] * m[8], m[1] * m[5] - m[2] * m[4],
                       m[5] * m[6] - m[3] * m[8], m[0] * m[8] - m[2] * m[6], m[2] * m[3] - m[0] * m[5],
                       m[3] * m[7] - m[4] * m[6], m[1] * m[6] - m[0] * m[7], m[0] * m[4] - m[1] * m[3]};
  const double determinant = m[0] * c[0] + m[1] * c[3] + m[2] * c[6];
  if (determinant == 0.0) return INFINITY;
  double largest = 0.0;
  for (int corner = 0; corner < 4; ++corner) {
    const double s1 = corner & 1 ? -1.0 : 1.0, s2 = corner & 2 ? -1.0 : 1.0;
    double square = 0.0;
    for (int i = 0; i < 3; ++i) {
      const double x = (c[3 * i] + s1 * c[3 * i + 1] + s2 * c[3 * i + 2]) / determinant;
      square += x * x;
    }
    if (largest == largest && !(square <= largest)) largest = square;
  }
  return static_cast<float>(sqrt(largest)) * 1.0001f;
}

}  // namespace raymarch
}  // namespace ava
