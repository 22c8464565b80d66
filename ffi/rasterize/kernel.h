// What cpu.cc schedules and kernel.cc computes: kernel.cc is compiled once per instruction set, so only plain types pass.
#pragma once

#include <cstdint>

#include "geometry.h"

namespace ava {
namespace rasterize {

constexpr int kChunk = 128;  // triangles whose rows are bounded together

// One image's mesh. Faces that name no vertex, or one that is not finite, are not drawn.
struct Mesh {
  const float* given;      // [vertices, components]
  const Vertex* vertices;  // made of them
  const int32_t* faces;    // [triangles, 3]
  int64_t vertex_count, triangles;
  Range range;
  int32_t height, width;
};

struct Rows {
  int32_t first, last;
};

// What has been drawn of one image; `behind_*`: only what lies behind it is drawn, null for all.
struct Layer {
  int32_t* index;
  float* depth;
  float* barycentrics;
  const int32_t* behind_index;
  const float* behind_depth;
};

// Sums of what a band's pixels give to each triangle that they see: record i is that of triangle[i], `per_record` numbers.
struct Records {
  int32_t* slot;      // [triangles], -1 before and after
  int32_t* triangle;  // [as many as pixels of a band]
  double* sum;
  int64_t per_record;
};

struct Attributes {
  const float* values;   // [count, channels]
  const int32_t* faces;  // [triangles, 3]
  int64_t count, triangles, channels;
};

struct Kernels {
  void (*vertices)(const Mesh&, int64_t first, int64_t last, Vertex* out);
  // Rows of triangles [first, last), and of all of them together.
  Rows (*rows)(const Mesh&, int64_t first, int64_t last, Rows* out);
  // Draws what the rows [first, last) see into index and depth, then turns that into the results.
  void (*draw)(const Mesh&, const Rows* rows, const Rows* chunks, int32_t first, int32_t last, const Layer& layer);
  // Gradient of the corners' coordinates, [3][components] a record; returns the number of records.
  int64_t (*gradient)(const Mesh&, int32_t first, int32_t last, const int32_t* index, const float* d_barycentrics, const float* d_depth,
                      const Records& records);
  // Of pixels [first, last).
  void (*interpolate)(const Attributes&, int64_t first, int64_t last, const int32_t* index, const float* barycentrics, float* out);
  void (*interpolate_barycentrics)(const Attributes&, int64_t first, int64_t last, const int32_t* index, const float* cotangent,
                                   float* d_barycentrics);
  // [3][channels] a record.
  int64_t (*interpolate_attributes)(const Attributes&, int64_t first, int64_t last, const int32_t* index, const float* barycentrics,
                                    const float* cotangent, const Records& records);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace rasterize
}  // namespace ava
