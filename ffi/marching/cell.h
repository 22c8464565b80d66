// What CPU and GPU have in common of marching cubes; ops/marching/extract.py says what is computed, table.py what `table` holds.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define AVA_MARCHING __host__ __device__ __forceinline__
#else
#define AVA_MARCHING inline
#endif

namespace ava {
namespace marching {

constexpr int kTableRow = 16;   // int8: triangles, then three edges for each
constexpr int kTableRows = 256;

struct Grid {
  const float* values;  // [Z, Y, X]
  const int8_t* table;  // [256, 16]
  int64_t size_x, size_y, size_z;
  float level;
};

struct Mesh {
  float* vertices;  // [vertex_capacity, 3]
  int32_t* faces;   // [face_capacity, 3]
  int32_t* counts;  // vertices, faces, values that are not finite
  int64_t vertex_capacity, face_capacity;
};

AVA_MARCHING bool Inside(const Grid& g, float value) { return !(value > g.level); }

AVA_MARCHING bool Finite(float x) { return x - x == 0.0f; }

// Corner that an edge starts at: 0 or 1 along `axis`.
AVA_MARCHING int OwnerOffset(int edge, int axis) {
  const int along = edge >> 2;
  if (axis == along) return 0;
  const bool is_first = axis == (along == 0 ? 1 : 0);
  return is_first ? edge & 1 : edge >> 1 & 1;
}

// Vertices on a place's edges before that along `axis`; `crossed` has a bit for each axis.
AVA_MARCHING int Before(int crossed, int axis) { return axis == 0 ? 0 : axis == 1 ? crossed & 1 : (crossed & 1) + (crossed >> 1 & 1); }

}  // namespace marching
}  // namespace ava
