// What is drawn, and into what: for hosts and devices.
#pragma once

#include <cstdint>

#include "geometry.h"

namespace ava {
namespace rasterize {

// Of vertices [batch, vertices, components] and faces [triangles, 3]; images are [batch, height, width].
struct Scene {
  int64_t batch, vertices, triangles;
  int32_t components, height, width;
  float low, high;  // depths seen
  const float* given;
  const int32_t* faces;
};

struct Fragments {
  int32_t* index;
  float* barycentrics;  // [.., 3]
  float* depth;
};

constexpr double kLeastW = 1e-6;  // of clip space, where no near plane gives one

inline Range RangeOf(const Scene& s) { return {s.low, s.high, s.components == 4 ? kLeastW : s.low, s.components}; }

}  // namespace rasterize
}  // namespace ava
