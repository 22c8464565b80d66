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

// The corners of a triangle; false where it names no vertex.
AVA_RASTER bool MakeCorners(const Scene& s, int64_t image, int64_t triangle, const Range& range, Vertex corner[3]) {
  for (int i = 0; i < 3; ++i) {
    const int32_t v = s.faces[3 * triangle + i];
    if (v < 0 || v >= s.vertices) return false;
    corner[i] = MakeVertex(s.given + (image * s.vertices + v) * s.components, range);
  }
  return true;
}

// Of values [batch or 1, count, channels] at fragments of [batch, height, width].
struct Interpolation {
  int64_t batch, count, channels, triangles, height, width;
  bool common;  // one array of values for all images
  const float* values;
  const int32_t* faces;
  const int32_t* index;
  const float* barycentrics;
};

// What images saw, and the mesh's edges.
struct Outlines {
  int64_t edges, channels;
  const int32_t* edge;     // [edges, 4]: its ends, and the other corners of its triangles, -1 for none
  const int32_t* index;    // [batch, height, width]
  const float* depth;
  const float* barycentrics;
  const uint8_t* marks;
  const float* image;      // [batch, height, width, channels]
  const float* cotangent;
};

}  // namespace rasterize
}  // namespace ava
