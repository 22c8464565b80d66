#include "cpu.h"

#include <algorithm>
#include <vector>

namespace ava {
namespace marching {
namespace {

struct Counts {
  int64_t vertices, faces, bad;
};

// The axes along which the place's edge is crossed, a bit each.
inline int Crossed(const Grid& g, const float* at, int64_t x, int64_t y, int64_t z) {
  const bool inside = Inside(g, *at);
  int crossed = 0;
  if (x + 1 < g.size_x) crossed |= inside != Inside(g, at[1]);
  if (y + 1 < g.size_y) crossed |= (inside != Inside(g, at[g.size_x])) << 1;
  if (z + 1 < g.size_z) crossed |= (inside != Inside(g, at[g.size_x * g.size_y])) << 2;
  return crossed;
}

// Case of the cell that starts at a place; it is the sum of two columns' bits: corners with x = 0, and those with x = 1.
inline int Column(const Grid& g, const float* at) {
  const int64_t row = g.size_x, slice = g.size_x * g.size_y;
  return Inside(g, at[0]) | Inside(g, at[row]) << 2 | Inside(g, at[slice]) << 4 | Inside(g, at[slice + row]) << 6;
}

// Calls run(x, y, at, case) for the slice's cells that the surface passes.
template <class Run>
void ForCells(const Grid& g, int64_t z, const Run& run) {
  if (z + 1 >= g.size_z) return;
  for (int64_t y = 0; y + 1 < g.size_y; ++y) {
    const float* at = g.values + (z * g.size_y + y) * g.size_x;
    int low = Column(g, at);
    for (int64_t x = 0; x + 1 < g.size_x; ++x) {
      const int high = Column(g, at + x + 1), all = low | high << 1;
      if (all != 0 && all != 255) run(x, y, at + x, all);
      low = high;
    }
  }
}

// Calls run(x, y, at, crossed) for the slice's places that have a crossed edge.
template <class Run>
void ForPlaces(const Grid& g, int64_t z, const Run& run) {
  for (int64_t y = 0; y < g.size_y; ++y) {
    const float* at = g.values + (z * g.size_y + y) * g.size_x;
    for (int64_t x = 0; x < g.size_x; ++x) {
      const int crossed = Crossed(g, at + x, x, y, z);
      if (crossed) run(x, y, at + x, crossed);
    }
  }
}

Counts Count(const Grid& g, int64_t z) {
  Counts n = {};
  const float* slice = g.values + z * g.size_y * g.size_x;
  for (int64_t i = 0; i < g.size_y * g.size_x; ++i) n.bad += !Finite(slice[i]);
  ForPlaces(g, z, [&](int64_t, int64_t, const float*, int crossed) { n.vertices += Before(crossed, 2) + (crossed >> 2); });
  ForCells(g, z, [&](int64_t, int64_t, const float*, int all) { n.faces += g.table[all * kTableRow]; });
  return n;
}

// The number of the first vertex at each place of a slice that has one, and which edges are crossed there.
void Number(const Grid& g, int64_t z, int64_t first, std::vector<int64_t>* numbers) {
  ForPlaces(g, z, [&](int64_t x, int64_t y, const float*, int crossed) {
    (*numbers)[y * g.size_x + x] = first << 3 | crossed;
    first += Before(crossed, 2) + (crossed >> 2);
  });
}

void WriteVertices(const Grid& g, const Mesh& m, int64_t z, int64_t first) {
  const int64_t step[3] = {1, g.size_x, g.size_x * g.size_y};
  ForPlaces(g, z, [&](int64_t x, int64_t y, const float* at, int crossed) {
    for (int axis = 0; axis < 3; ++axis) {
      if (!(crossed >> axis & 1)) continue;
      const int64_t to = first++;
      if (to >= m.vertex_capacity) return;
      float* v = m.vertices + 3 * to;
      v[0] = static_cast<float>(x), v[1] = static_cast<float>(y), v[2] = static_cast<float>(z);
      v[axis] += (g.level - at[0]) / (at[step[axis]] - at[0]);
    }
  });
}

void WriteFaces(const Grid& g, const Mesh& m, int64_t z, int64_t first, const std::vector<int64_t> numbers[2]) {
  ForCells(g, z, [&](int64_t x, int64_t y, const float*, int all) {
    const int8_t* row = g.table + all * kTableRow;
    for (int i = 0; i < row[0]; ++i, ++first) {
      if (first >= m.face_capacity) return;
      for (int corner = 0; corner < 3; ++corner) {
        const int edge = row[1 + 3 * i + corner];
        const int64_t owner = (y + OwnerOffset(edge, 1)) * g.size_x + x + OwnerOffset(edge, 0);
        const int64_t number = numbers[OwnerOffset(edge, 2)][owner];
        m.faces[3 * first + corner] = static_cast<int32_t>((number >> 3) + Before(number & 7, edge >> 2));
      }
    }
  });
}

int32_t Clamped(int64_t count) { return static_cast<int32_t>(std::min<int64_t>(count, INT32_MAX)); }

}  // namespace

void Extract(const Grid& g, const Mesh& m, const Pool& pool) {
  std::vector<Counts> first(g.size_z + 1);
  ParallelFor(pool, g.size_z, [&](int64_t z, int) { first[z] = Count(g, z); });
  Counts sum = {};
  for (Counts& n : first) {
    const Counts own = n;
    n = sum;
    sum.vertices += own.vertices, sum.faces += own.faces, sum.bad += own.bad;
  }
  m.counts[0] = Clamped(sum.vertices), m.counts[1] = Clamped(sum.faces), m.counts[2] = Clamped(sum.bad);
  std::fill(m.vertices + 3 * std::min(sum.vertices, m.vertex_capacity), m.vertices + 3 * m.vertex_capacity, 0.0f);
  std::fill(m.faces + 3 * std::min(sum.faces, m.face_capacity), m.faces + 3 * m.face_capacity, 0);
  struct Numbers {
    std::vector<int64_t> slices[2];
  };
  std::vector<Numbers> numbers(pool.threads);
  ParallelFor(pool, g.size_z, [&](int64_t z, int worker) {
    if (first[z].vertices < std::min(first[z + 1].vertices, m.vertex_capacity)) WriteVertices(g, m, z, first[z].vertices);
    if (first[z].faces == first[z + 1].faces || first[z].faces >= m.face_capacity) return;
    for (int next = 0; next < 2; ++next) {
      numbers[worker].slices[next].resize(g.size_x * g.size_y);
      Number(g, z + next, first[z + next].vertices, &numbers[worker].slices[next]);
    }
    WriteFaces(g, m, z, first[z].faces, numbers[worker].slices);
  });
}

}  // namespace marching
}  // namespace ava
