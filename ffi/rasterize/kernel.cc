// The inner loops of the rasteriser, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include "../common/lanes.h"

namespace ava {
namespace rasterize {
namespace {

typedef double Doubles __attribute__((vector_size(8 * kLanes)));
typedef int64_t Longs __attribute__((vector_size(8 * kLanes)));

constexpr float kNothing = 3.4028235e38f;  // depth where nothing has been drawn
// A value above it is positive or, the smallest normal number being so small, zero.
constexpr double kBelowZero = -2.2250738585072014e-308;
constexpr int32_t kWide = 16;  // columns from which on a row's ends are computed

AVA_LANES Doubles SplatDouble(double x) { return Doubles{x, x, x, x, x, x, x, x}; }

bool Corners(const Mesh& mesh, int64_t triangle, const Vertex* corner[3]) {
  for (int i = 0; i < 3; ++i) {
    const int32_t v = mesh.faces[3 * triangle + i];
    if (v < 0 || v >= mesh.vertex_count) return false;
    corner[i] = mesh.vertices + v;
  }
  return true;
}

void Vertices(const Mesh& mesh, int64_t first, int64_t last, Vertex* out) {
  for (int64_t i = first; i < last; ++i) out[i] = MakeVertex(mesh.given + mesh.range.components * i, mesh.range);
}

Rows TriangleRows(const Mesh& mesh, int64_t first, int64_t last, Rows* out) {
  Rows all = {mesh.height, -1};
  for (int64_t t = first; t < last; ++t) {
    const Vertex* v[3];
    Box box = {0, -1, 0, -1};
    if (Corners(mesh, t, v)) box = MakeBox(*v[0], *v[1], *v[2], mesh.range, mesh.height, mesh.width);
    out[t] = {box.row_first, box.row_last};
    if (box.row_last < box.row_first) continue;
    all.first = box.row_first < all.first ? box.row_first : all.first;
    all.last = box.row_last > all.last ? box.row_last : all.last;
  }
  return all;
}

// A triangle whose rows are being drawn.
struct Drawn {
  Triangle triangle;
  double limit[3];
  int32_t index;
};

// Eight pixels from column x on. The arrays start at that column.
AVA_LANES void DrawEight(const Mesh& mesh, const Drawn& d, const double row[3], int32_t x, int32_t* index, float* depth,
                         const int32_t* behind_index, const float* behind_depth) {
  const Doubles columns = Doubles{0, 1, 2, 3, 4, 5, 6, 7} + static_cast<double>(x);
  Doubles value[3];
  Longs inside;
  for (int i = 0; i < 3; ++i) {
    const Edge& e = d.triangle.edge[i];
    value[i] = (columns - e.x0) * e.a + row[i];
    const Longs in = value[i] > SplatDouble(d.limit[i]);
    inside = i == 0 ? in : inside & in;
  }
  if (!Any(__builtin_convertvector(inside, Ints))) return;
  Doubles far = value[0] * d.triangle.depth[0] + value[1] * d.triangle.depth[1] + value[2] * d.triangle.depth[2];
  if (mesh.range.components == 3) far = 1.0 / far;
  inside &= (far >= SplatDouble(mesh.range.low)) & (far <= SplatDouble(mesh.range.high));
  const Floats z = __builtin_convertvector(far, Floats), before = LoadFloats(depth);
  Ints nearer = __builtin_convertvector(inside, Ints) & (z < before);
  if (behind_index != nullptr) {
    const Ints i = LoadInts(behind_index);
    const Floats b = LoadFloats(behind_depth);
    nearer &= (i >= 0) & ((z > b) | ((z == b) & (SplatInt(d.index) > i)));
  }
  Store(depth, nearer ? z : before);
  Store(index, nearer ? SplatInt(d.index) : LoadInts(index));
}

// The same at the end of pictures that are less than eight pixels wide.
void DrawFew(const Mesh& mesh, const Drawn& d, const double row[3], int32_t* index, float* depth, const int32_t* behind_index,
             const float* behind_depth) {
  int32_t i[kLanes] = {}, b[kLanes] = {};
  float z[kLanes] = {}, bz[kLanes] = {};
  for (int32_t x = 0; x < mesh.width; ++x) {
    i[x] = index[x], z[x] = depth[x];
    if (behind_index != nullptr) b[x] = behind_index[x], bz[x] = behind_depth[x];
  }
  DrawEight(mesh, d, row, 0, i, z, behind_index == nullptr ? nullptr : b, bz);
  for (int32_t x = 0; x < mesh.width; ++x) index[x] = i[x], depth[x] = z[x];
}

// Narrows the columns of a row to those between the edges, and a few beside them.
void NarrowRow(const Triangle& t, const double row[3], int32_t* first, int32_t* last) {
  double low = *first, high = *last;
  for (int i = 0; i < 3; ++i) {
    const Edge& e = t.edge[i];
    if (e.a == 0.0) continue;
    const double cross = e.x0 - row[i] / e.a;
    if (e.a > 0.0 && cross - 2.0 > low) low = cross - 2.0;
    if (e.a < 0.0 && cross + 2.0 < high) high = cross + 2.0;
  }
  if (!(low <= high)) {
    *last = *first - 1;
    return;
  }
  *first = static_cast<int32_t>(low);
  *last = static_cast<int32_t>(high);
}

void DrawTriangle(const Mesh& mesh, int64_t t, int32_t band_first, int32_t band_last, const Layer& layer) {
  const Vertex* v[3];
  Drawn d;
  if (!Corners(mesh, t, v) || !MakeTriangle(*v[0], *v[1], *v[2], mesh.range, &d.triangle)) return;
  const Box box = MakeBox(*v[0], *v[1], *v[2], mesh.range, mesh.height, mesh.width);
  d.index = static_cast<int32_t>(t);
  for (int i = 0; i < 3; ++i) d.limit[i] = d.triangle.edge[i].owns ? kBelowZero : 0.0;
  const int32_t from = box.row_first > band_first ? box.row_first : band_first;
  const int32_t to = box.row_last < band_last - 1 ? box.row_last : band_last - 1;
  for (int32_t y = from; y <= to; ++y) {
    const int64_t at = static_cast<int64_t>(y) * mesh.width;
    double row[3];
    for (int i = 0; i < 3; ++i) row[i] = EdgeRow(d.triangle.edge[i], y);
    const int32_t* behind_index = layer.behind_index == nullptr ? nullptr : layer.behind_index + at;
    const float* behind_depth = layer.behind_depth == nullptr ? nullptr : layer.behind_depth + at;
    if (mesh.width < kLanes) {
      DrawFew(mesh, d, row, layer.index + at, layer.depth + at, behind_index, behind_depth);
      continue;
    }
    int32_t first = box.column_first, last = box.column_last;
    if (last - first >= kWide) NarrowRow(d.triangle, row, &first, &last);
    for (int32_t column = first; column <= last; column += kLanes) {
      const int32_t x = column < mesh.width - kLanes ? column : mesh.width - kLanes;
      DrawEight(mesh, d, row, x, layer.index + at + x, layer.depth + at + x, behind_index == nullptr ? nullptr : behind_index + x,
                behind_depth == nullptr ? nullptr : behind_depth + x);
    }
  }
}

// The triangle that pixels see one after the other: mostly the same.
struct Seen {
  const Mesh* mesh;
  int32_t index;
  bool ok;
  Triangle triangle;
  double z[3];
};

AVA_LANES bool See(Seen* seen, int32_t index) {
  if (index == seen->index) return seen->ok;
  seen->index = index;
  const Vertex* v[3];
  seen->ok = index >= 0 && index < seen->mesh->triangles && Corners(*seen->mesh, index, v) &&
             MakeTriangle(*v[0], *v[1], *v[2], seen->mesh->range, &seen->triangle);
  for (int i = 0; seen->ok && i < 3; ++i) seen->z[i] = v[i]->z;
  return seen->ok;
}

Seen SeenNothing(const Mesh& mesh) {
  Seen seen;
  seen.mesh = &mesh;
  seen.index = -1;
  seen.ok = false;
  return seen;
}

void ResolveRow(const Mesh& mesh, int32_t y, const Layer& layer, Seen* seen) {
  for (int32_t x = 0; x < mesh.width; ++x) {
    const int64_t at = static_cast<int64_t>(y) * mesh.width + x;
    float* to = layer.barycentrics + 3 * at;
    if (!See(seen, layer.index[at])) {
      layer.depth[at] = 0.0f;
      to[0] = to[1] = to[2] = 0.0f;
      continue;
    }
    double c[3];
    const double w = 1.0 / OverDepth(seen->triangle, x, y, c);
    for (int i = 0; i < 3; ++i) to[i] = static_cast<float>(c[i] * w);
  }
}

void Draw(const Mesh& mesh, const Rows* rows, const Rows* chunks, int32_t first, int32_t last, const Layer& layer) {
  const int64_t from = static_cast<int64_t>(first) * mesh.width, to = static_cast<int64_t>(last) * mesh.width;
  for (int64_t i = from; i < to; ++i) layer.index[i] = -1, layer.depth[i] = kNothing;
  for (int64_t chunk = 0; chunk * kChunk < mesh.triangles; ++chunk) {
    if (chunks[chunk].first >= last || chunks[chunk].last < first) continue;
    const int64_t end = (chunk + 1) * kChunk < mesh.triangles ? (chunk + 1) * kChunk : mesh.triangles;
    for (int64_t t = chunk * kChunk; t < end; ++t) {
      if (rows[t].first < last && rows[t].last >= first && rows[t].last >= rows[t].first) DrawTriangle(mesh, t, first, last, layer);
    }
  }
  Seen seen = SeenNothing(mesh);
  for (int32_t y = first; y < last; ++y) ResolveRow(mesh, y, layer, &seen);
}

// The record of a triangle, a new one of zeros at first.
AVA_LANES double* RecordOf(const Records& records, int32_t triangle, int64_t* count) {
  int32_t slot = records.slot[triangle];
  if (slot < 0) {
    slot = records.slot[triangle] = static_cast<int32_t>(*count);
    records.triangle[*count] = triangle;
    double* sum = records.sum + *count * records.per_record;
    for (int64_t i = 0; i < records.per_record; ++i) sum[i] = 0.0;
    ++*count;
  }
  return records.sum + slot * records.per_record;
}

void CleanSlots(const Records& records, int64_t count) {
  for (int64_t i = 0; i < count; ++i) records.slot[records.triangle[i]] = -1;
}

int64_t Gradient(const Mesh& mesh, int32_t first, int32_t last, const int32_t* index, const float* d_barycentrics, const float* d_depth,
                 const Records& records) {
  int64_t count = 0;
  Seen seen = SeenNothing(mesh);
  double* sum = nullptr;
  for (int32_t y = first; y < last; ++y) {
    for (int32_t x = 0; x < mesh.width; ++x) {
      const int64_t at = static_cast<int64_t>(y) * mesh.width + x;
      const int32_t before = seen.index;
      if (!See(&seen, index[at])) continue;
      if (index[at] != before) sum = RecordOf(records, index[at], &count);
      AddCotangent(seen.triangle, x, y, seen.z, d_barycentrics + 3 * at, d_depth[at], mesh.range, reinterpret_cast<double(*)[3]>(sum),
                   sum + 9);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    double* to = records.sum + i * records.per_record;
    double taken[12];
    for (int k = 0; k < 12; ++k) taken[k] = to[k];
    See(&seen, records.triangle[i]);
    FinishCotangent(seen.triangle, reinterpret_cast<const double(*)[3]>(taken), taken + 9, mesh.range, to);
  }
  CleanSlots(records, count);
  return count;
}

// The values at the corners of a triangle; false where it has none.
AVA_LANES bool CornerValues(const Attributes& a, int32_t triangle, const float* corner[3]) {
  if (triangle < 0 || triangle >= a.triangles) return false;
  for (int i = 0; i < 3; ++i) {
    const int32_t v = a.faces[3 * static_cast<int64_t>(triangle) + i];
    if (v < 0 || v >= a.count) return false;
    corner[i] = a.values + v * a.channels;
  }
  return true;
}

void Interpolate(const Attributes& a, int64_t first, int64_t last, const int32_t* index, const float* barycentrics, float* out) {
  for (int64_t p = first; p < last; ++p) {
    const float* corner[3];
    float* to = out + p * a.channels;
    if (!CornerValues(a, index[p], corner)) {
      for (int64_t c = 0; c < a.channels; ++c) to[c] = 0.0f;
      continue;
    }
    const float* b = barycentrics + 3 * p;
    for (int64_t c = 0; c < a.channels; ++c) to[c] = corner[0][c] * b[0] + corner[1][c] * b[1] + corner[2][c] * b[2];
  }
}

void InterpolateBarycentrics(const Attributes& a, int64_t first, int64_t last, const int32_t* index, const float* cotangent,
                             float* d_barycentrics) {
  for (int64_t p = first; p < last; ++p) {
    const float* corner[3];
    float* to = d_barycentrics + 3 * p;
    to[0] = to[1] = to[2] = 0.0f;
    if (!CornerValues(a, index[p], corner)) continue;
    const float* given = cotangent + p * a.channels;
    for (int i = 0; i < 3; ++i) {
      float sum = 0.0f;
      for (int64_t c = 0; c < a.channels; ++c) sum += corner[i][c] * given[c];
      to[i] = sum;
    }
  }
}

int64_t InterpolateAttributes(const Attributes& a, int64_t first, int64_t last, const int32_t* index, const float* barycentrics,
                              const float* cotangent, const Records& records) {
  int64_t count = 0;
  for (int64_t p = first; p < last; ++p) {
    const float* corner[3];
    if (!CornerValues(a, index[p], corner)) continue;
    double* sum = RecordOf(records, index[p], &count);
    const float* given = cotangent + p * a.channels;
    for (int i = 0; i < 3; ++i) {
      const float b = barycentrics[3 * p + i];
      for (int64_t c = 0; c < a.channels; ++c) sum[i * a.channels + c] += b * given[c];
    }
  }
  CleanSlots(records, count);
  return count;
}

}  // namespace

extern const Kernels AVA_KERNELS = {Vertices, TriangleRows, Draw, Gradient, Interpolate, InterpolateBarycentrics, InterpolateAttributes};

}  // namespace rasterize
}  // namespace ava
