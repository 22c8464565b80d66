// The mathematics of one triangle, for host and device: which pixel centres it covers, where they lie on it, and gradients of that.
//
// A vertex is (X, Y, w): its pixel is (X / w, Y / w), w its depth along the camera's axis; or (X, Y, w, z), whose depth is z / w.
// With M the matrix whose columns are the corners and r = (column, row, 1), c = M^-1 r holds the barycentrics over the depth w: 1 / w is
// sum(c), the barycentrics c / sum(c), z / w = sum(c z). A centre is covered where all of c are positive, wherever the corners lie.
//
// Everything that decides coverage is computed in double, and alike by all triangles that have an edge in common: the ends of an edge are
// put in an order that their coordinates alone decide. So neighbours see values of opposite sign, whatever their rounding.
//
// Nor may a product and a sum be fused there: at the end of an edge two products cancel, exactly only if both are rounded. Hosts compile
// this with -ffp-contract=off; `Product` keeps device compilers from it.
//
// All of it has internal linkage: the host compiles this once per instruction set and must not let the linker merge them.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define AVA_RASTER static __host__ __device__ __forceinline__
#else
#define AVA_RASTER static inline __attribute__((always_inline))
#endif

namespace ava {
namespace rasterize {

// What may be seen: depths from `low` to `high`. `components` of a vertex: 3, or 4 in clip space.
struct Range {
  double low, high;
  double least_w;  // > 0: corners nearer than this are not divided by w
  int components;
};

enum class Corner : int32_t { kBad, kNear, kFront };  // not finite; w less than least_w; before the camera

AVA_RASTER double Product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

struct Vertex {
  double x, y, w;  // kFront: pixels; else X, Y as they were given
  double z;        // 1 without a fourth component
  Corner kind;
};

// (x - x * 0 == x) is false for infinities and NaN, on every compiler without options that promise there are none.
AVA_RASTER bool IsFinite(double x) { return x - x == 0.0; }

AVA_RASTER Vertex MakeVertex(const float* at, const Range& range) {
  Vertex v = {at[0], at[1], at[2], range.components == 4 ? static_cast<double>(at[3]) : 1.0, Corner::kNear};
  if (!(IsFinite(v.x) && IsFinite(v.y) && IsFinite(v.w) && IsFinite(v.z))) {
    v.kind = Corner::kBad;
  } else if (v.w >= range.least_w) {
    v.kind = Corner::kFront;
    v.x /= v.w;
    v.y /= v.w;
  }
  return v;
}

// A line a (x - x0) + b (y - y0) + c, positive inside; `owns`: centres on it belong to the triangle (top and left edges).
struct Edge {
  double a, b, c, x0, y0;
  double scale;  // times this it is the cross product of the ends, dotted with (x, y, 1)
  bool owns;
};

AVA_RASTER bool Before(const Vertex& p, const Vertex& q) {
  if (p.x != q.x) return p.x < q.x;
  if (p.y != q.y) return p.y < q.y;
  return p.w < q.w;
}

// The edge from p to q, without regard to the triangle's orientation.
AVA_RASTER Edge MakeEdge(const Vertex& from, const Vertex& to) {
  const bool ordered = Before(from, to);
  const Vertex& p = ordered ? from : to;
  const Vertex& q = ordered ? to : from;
  Edge e;
  if (p.kind == Corner::kFront && q.kind == Corner::kFront) {
    e = {p.y - q.y, q.x - p.x, 0.0, p.x, p.y, p.w * q.w, false};
  } else {
    const double px = p.kind == Corner::kFront ? p.x * p.w : p.x, py = p.kind == Corner::kFront ? p.y * p.w : p.y;
    const double qx = q.kind == Corner::kFront ? q.x * q.w : q.x, qy = q.kind == Corner::kFront ? q.y * q.w : q.y;
    e = {Product(py, q.w) - Product(p.w, qy), Product(p.w, qx) - Product(px, q.w), Product(px, qy) - Product(py, qx), 0.0, 0.0, 1.0, false};
  }
  if (!ordered) e.a = -e.a, e.b = -e.b, e.c = -e.c;
  return e;
}

AVA_RASTER double EdgeRow(const Edge& e, double y) { return Product(e.b, y - e.y0) + e.c; }

AVA_RASTER double EdgeAt(const Edge& e, double x, double row) { return Product(e.a, x - e.x0) + row; }

struct Triangle {
  Edge edge[3];      // edge[i] lies opposite corner i
  double factor[3];  // of edge[i]: gives c
  double depth[3];   // sum of edge[i] depth[i]: 1 / w, or z / w
};

// False where nothing of it can be seen.
AVA_RASTER bool MakeTriangle(const Vertex& v0, const Vertex& v1, const Vertex& v2, const Range& range, Triangle* t) {
  if (v0.kind == Corner::kBad || v1.kind == Corner::kBad || v2.kind == Corner::kBad) return false;
  const bool front = v0.kind == Corner::kFront && v1.kind == Corner::kFront && v2.kind == Corner::kFront;
  if (!front && v0.kind == Corner::kNear && v1.kind == Corner::kNear && v2.kind == Corner::kNear) return false;
  t->edge[0] = MakeEdge(v1, v2);
  t->edge[1] = MakeEdge(v2, v0);
  t->edge[2] = MakeEdge(v0, v1);
  double sign;
  if (front) {
    const double area = (v1.x - v0.x) * (v2.y - v0.y) - (v2.x - v0.x) * (v1.y - v0.y);
    if (!(area != 0.0) || !IsFinite(area)) return false;
    const double over = 1.0 / area;
    t->factor[0] = over / v0.w;
    t->factor[1] = over / v1.w;
    t->factor[2] = over / v2.w;
    sign = area;
  } else {
    const Vertex* v[3] = {&v0, &v1, &v2};
    double p[3][3];
    for (int i = 0; i < 3; ++i) {
      const double by = v[i]->kind == Corner::kFront ? v[i]->w : 1.0;
      p[i][0] = v[i]->x * by, p[i][1] = v[i]->y * by, p[i][2] = v[i]->w;
    }
    const double det = p[0][0] * (p[1][1] * p[2][2] - p[1][2] * p[2][1]) + p[0][1] * (p[1][2] * p[2][0] - p[1][0] * p[2][2]) +
                       p[0][2] * (p[1][0] * p[2][1] - p[1][1] * p[2][0]);
    if (!(det != 0.0) || !IsFinite(det)) return false;
    for (int i = 0; i < 3; ++i) t->factor[i] = t->edge[i].scale / det;
    sign = det;
  }
  const double z[3] = {v0.z, v1.z, v2.z};
  for (int i = 0; i < 3; ++i) {
    Edge& e = t->edge[i];
    if (sign < 0.0) {
      e.a = -e.a, e.b = -e.b, e.c = -e.c;
      t->factor[i] = -t->factor[i];
    }
    e.owns = e.a > 0.0 || (e.a == 0.0 && e.b > 0.0);
    t->depth[i] = range.components == 4 ? t->factor[i] * z[i] : t->factor[i];
  }
  return true;
}

AVA_RASTER bool Covers(const Edge& e, double value) { return value > 0.0 || (value == 0.0 && e.owns); }

// Depth of the triangle at a pixel from the values of its edges there.
AVA_RASTER double DepthAt(const Triangle& t, const double value[3], const Range& range) {
  const double key = value[0] * t.depth[0] + value[1] * t.depth[1] + value[2] * t.depth[2];
  return range.components == 4 ? key : 1.0 / key;
}

// Barycentrics over w, for which the centre need not be covered; returns their sum, 1 / w.
AVA_RASTER double OverDepth(const Triangle& t, double x, double y, double c[3]) {
  double sum = 0.0;
  for (int i = 0; i < 3; ++i) sum += c[i] = EdgeAt(t.edge[i], x, EdgeRow(t.edge[i], y)) * t.factor[i];
  return sum;
}

// Pixels in which something of a triangle may be seen: rows and columns, first to last; empty where last < first.
struct Box {
  int32_t row_first, row_last, column_first, column_last;
};

AVA_RASTER int32_t Clamped(double x, int32_t low, int32_t high) {
  return x <= low ? low : x >= high ? high : static_cast<int32_t>(x);
}

AVA_RASTER double CeilOf(double x) {  // for |x| < 2^31
  const double whole = static_cast<double>(static_cast<int64_t>(x));
  return whole < x ? whole + 1.0 : whole;
}

AVA_RASTER Box BoxOf(double x_low, double x_high, double y_low, double y_high, int32_t height, int32_t width) {
  if (!(x_low < width && x_high >= 0.0 && y_low < height && y_high >= 0.0)) return {0, -1, 0, -1};
  Box box;
  box.column_first = Clamped(CeilOf(x_low < -1.0 ? -1.0 : x_low), 0, width);
  box.column_last = Clamped(x_high, -1, width - 1);
  box.row_first = Clamped(CeilOf(y_low < -1.0 ? -1.0 : y_low), 0, height);
  box.row_last = Clamped(y_high, -1, height - 1);
  if (box.column_last < box.column_first) return {0, -1, 0, -1};
  return box;
}

AVA_RASTER Box MakeBox(const Vertex& v0, const Vertex& v1, const Vertex& v2, const Range& range, int32_t height, int32_t width) {
  const Vertex* v[3] = {&v0, &v1, &v2};
  double x_low = 1e300, x_high = -1e300, y_low = 1e300, y_high = -1e300;
  bool front = true, any = false;
  for (int i = 0; i < 3; ++i) {
    if (v[i]->kind == Corner::kBad) return {0, -1, 0, -1};
    front = front && v[i]->kind == Corner::kFront;
    any = any || v[i]->kind == Corner::kFront;
  }
  if (!any) return {0, -1, 0, -1};
  for (int i = 0; i < 3; ++i) {
    double x = v[i]->x, y = v[i]->y;
    if (v[i]->kind == Corner::kFront) {
      x_low = x < x_low ? x : x_low, x_high = x > x_high ? x : x_high;
      y_low = y < y_low ? y : y_low, y_high = y > y_high ? y : y_high;
    }
    if (front) continue;
    const Vertex& p = *v[i];
    const Vertex& q = *v[(i + 1) % 3];
    if (p.kind == q.kind) continue;
    const Vertex& in = p.kind == Corner::kFront ? p : q;
    const Vertex& out = p.kind == Corner::kFront ? q : p;
    const double s = (in.w - range.least_w) / (in.w - out.w);  // where the edge meets w = least_w
    x = (in.x * in.w + s * (out.x - in.x * in.w)) / range.least_w;
    y = (in.y * in.w + s * (out.y - in.y * in.w)) / range.least_w;
    // A pixel of margin: this point is not exact.
    x_low = x - 1.0 < x_low ? x - 1.0 : x_low, x_high = x + 1.0 > x_high ? x + 1.0 : x_high;
    y_low = y - 1.0 < y_low ? y - 1.0 : y_low, y_high = y + 1.0 > y_high ? y + 1.0 : y_high;
  }
  return BoxOf(x_low, x_high, y_low, y_high, height, width);
}

// Adds to `sum`, the gradient of the corners' (X, Y, w(, z)) as far as it is alike for all pixels, what one pixel gives: sum[j][k] is
// that of c_j times the gradient by c_k, sum_z[j] that of z_j. Of cotangents of barycentrics and depth.
AVA_RASTER void AddCotangent(const Triangle& t, double x, double y, const double z[3], const float d_barycentric[3], float d_depth,
                             const Range& range, double sum[3][3], double sum_z[3]) {
  double c[3];
  const double over_w = OverDepth(t, x, y, c);
  const double w = 1.0 / over_w;
  double along = 0.0;
  for (int i = 0; i < 3; ++i) along += d_barycentric[i] * c[i];
  along *= w;
  for (int k = 0; k < 3; ++k) {
    double d = w * (d_barycentric[k] - along);
    d += range.components == 4 ? d_depth * z[k] : -w * w * d_depth;
    for (int j = 0; j < 3; ++j) sum[j][k] += c[j] * d;
  }
  for (int j = 0; j < 3; ++j) sum_z[j] += c[j] * d_depth;
}

// M^-1: row i gives c_i = row . (x, y, 1).
AVA_RASTER void Inverse(const Triangle& t, double rows[3][3]) {
  for (int i = 0; i < 3; ++i) {
    const Edge& e = t.edge[i];
    rows[i][0] = e.a * t.factor[i];
    rows[i][1] = e.b * t.factor[i];
    rows[i][2] = (e.c - e.a * e.x0 - e.b * e.y0) * t.factor[i];
  }
}

// The gradient of the corners [3][components] from the sums over a triangle's pixels: of corner j, -sum over k of sum[j][k] row k.
AVA_RASTER void FinishCotangent(const Triangle& t, const double sum[3][3], const double sum_z[3], const Range& range, double* out) {
  double rows[3][3];
  Inverse(t, rows);
  for (int j = 0; j < 3; ++j) {
    double* to = out + j * range.components;
    for (int i = 0; i < 3; ++i) to[i] = -(sum[j][0] * rows[0][i] + sum[j][1] * rows[1][i] + sum[j][2] * rows[2][i]);
    if (range.components == 4) to[3] = sum_z[j];
  }
}

}  // namespace rasterize
}  // namespace ava
