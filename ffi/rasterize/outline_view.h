// What outlines change of one image, for host and device: which of them are seen there, and the gradients of the vertices that arise.
#pragma once

#include "outline.h"
#include "scene.h"

namespace ava {
namespace rasterize {

constexpr double kSameDepth = 1.0 - 1e-6;
constexpr double kHidden = 1.0 - 1e-4;  // of the depth of the edge: what is nearer than that hides it

// One image's part of a scene and of its outlines.
struct View {
  Range range;
  int32_t components, height, width;
  int64_t vertices, triangles, channels;
  const float* given;
  const Vertex* made;  // null: made of what is given when asked for
  const int32_t* faces;
  const int32_t* index;
  const float* depth;
  const float* barycentrics;
  const uint8_t* marks;  // from here on for gradients alone
  const float* image;
  const float* cotangent;
};

AVA_RASTER View MakeView(const Scene& s, const Range& range, const Outlines& o, const Vertex* made, int64_t image) {
  const int64_t at = image * s.height * s.width;
  View v;
  v.range = range;
  v.components = s.components, v.height = s.height, v.width = s.width;
  v.vertices = s.vertices, v.triangles = s.triangles, v.channels = o.channels;
  v.given = s.given + image * s.vertices * s.components;
  v.made = made;
  v.faces = s.faces;
  v.index = o.index + at;
  v.depth = o.depth + at;
  v.barycentrics = o.barycentrics + 3 * at;
  v.marks = o.marks == nullptr ? nullptr : o.marks + at;
  v.image = o.image == nullptr ? nullptr : o.image + at * o.channels;
  v.cotangent = o.cotangent == nullptr ? nullptr : o.cotangent + at * o.channels;
  return v;
}

AVA_RASTER bool VertexOf(const View& view, int32_t i, Vertex* v) {
  if (i < 0 || i >= view.vertices) return false;
  *v = view.made != nullptr ? view.made[i] : MakeVertex(view.given + static_cast<int64_t>(i) * view.components, view.range);
  return true;
}

AVA_RASTER bool CornersOf(const View& view, int32_t triangle, Vertex v[3]) {
  if (triangle < 0 || triangle >= view.triangles) return false;
  for (int i = 0; i < 3; ++i) {
    if (!VertexOf(view, view.faces[3 * static_cast<int64_t>(triangle) + i], &v[i])) return false;
  }
  return true;
}

AVA_RASTER bool NamesCorners(const View& view, int32_t triangle) {
  if (triangle < 0 || triangle >= view.triangles) return false;
  for (int i = 0; i < 3; ++i) {
    const int32_t v = view.faces[3 * static_cast<int64_t>(triangle) + i];
    if (v < 0 || v >= view.vertices) return false;
  }
  return true;
}

// Depth along the camera's axis of what a pixel sees, whatever the fragments hold; 0 for nothing.
AVA_RASTER double AxisDepth(const View& view, int64_t pixel) {
  if (view.components == 3) return view.depth[pixel];
  Vertex v[3];
  if (!CornersOf(view, view.index[pixel], v)) return 0.0;
  const float* b = view.barycentrics + 3 * pixel;
  return b[0] * v[0].w + b[1] * v[1].w + b[2] * v[2].w;
}

// Whether the triangle that a pixel sees lies before a point of depth `depth`.
AVA_RASTER bool Hides(const View& view, int64_t pixel, double x, double y, double depth) {
  Vertex v[3];
  Triangle t;
  if (!CornersOf(view, view.index[pixel], v) || !MakeTriangle(v[0], v[1], v[2], view.range, &t)) return false;
  double c[3];
  const double over_w = OverDepth(t, x, y, c);
  return c[0] >= 0.0 && c[1] >= 0.0 && c[2] >= 0.0 && over_w * depth * kHidden > 1.0;
}

AVA_RASTER bool IsVisible(const View& view, const Outline& o, const Crossing& c) {
  if (c.inside < 0 || c.outside < 0) return false;
  const bool open = view.index[c.outside] < 0 || AxisDepth(view, c.outside) >= c.depth * kSameDepth;
  return open && !Hides(view, c.inside, o.from[0] + c.t * o.by[0], o.from[1] + c.t * o.by[1], c.depth);
}

// The outline that an edge [4] of the mesh is, and its ends; false where it is none.
AVA_RASTER bool OutlineOf(const View& view, const int32_t* edge, Vertex end[2], Outline* o) {
  Vertex other[2];
  if (!VertexOf(view, edge[0], &end[0]) || !VertexOf(view, edge[1], &end[1])) return false;
  const bool first = VertexOf(view, edge[2], &other[0]), second = VertexOf(view, edge[3], &other[1]);
  return MakeOutline(end[0], end[1], first ? &other[0] : nullptr, second ? &other[1] : nullptr, o);
}

// Whether an outline passes between two neighbours.
AVA_RASTER bool IsCut(const View& view, int64_t p, int64_t q) {
  const int64_t first = p < q ? p : q, last = p < q ? q : p;
  return view.marks[first] & (last - first == view.width ? kCutBelow : kCutRight);
}

AVA_RASTER double Distance(double a, double b) { return a < b ? b - a : a - b; }

// Whether a pixel shows the triangle at the edge, and not what lies behind it: its depth is nearer to the edge's than that outside.
AVA_RASTER bool ShowsTriangle(const View& view, int64_t pixel, const Crossing& c) {
  if (pixel < 0 || view.index[pixel] < 0) return false;
  if (view.index[c.outside] < 0) return true;
  return Distance(AxisDepth(view, pixel), c.depth) < Distance(AxisDepth(view, c.outside), c.depth);
}

// What the outline's motion along its normal changes of the pixel that it crosses, per length.
AVA_RASTER double AlongCrossing(const View& view, const Crossing& c) {
  const int64_t n = view.channels, p = static_cast<int64_t>(c.row) * view.width + c.column;
  const int64_t inside = !ShowsTriangle(view, c.inside, c) && ShowsTriangle(view, c.beside, c) ? c.beside : c.inside;
  // The colour within at the border of the pixel: where the pixel's own centre lies outside, half a pixel beyond that which is known.
  const bool beyond = inside == c.inside && inside != p && c.further >= 0 && view.index[c.further] >= 0 && view.index[c.inside] >= 0 &&
                      !IsCut(view, c.inside, c.further);
  double along = 0.0;
  for (int64_t k = 0; k < n; ++k) {
    double within = view.image[inside * n + k];
    if (beyond) within += 0.5 * (within - view.image[c.further * n + k]);
    along += view.cotangent[p * n + k] * (within - view.image[c.outside * n + k]);
  }
  return along;
}

// Sum over channels of the cotangent at pixel `of` times (colour at p - colour at q).
AVA_RASTER double Difference(const View& view, int64_t of, int64_t p, int64_t q) {
  const int64_t n = view.channels;
  double along = 0.0;
  for (int64_t k = 0; k < n; ++k) along += view.cotangent[of * n + k] * (view.image[p * n + k] - view.image[q * n + k]);
  return along;
}

AVA_RASTER bool HasFlow(const View& view, int64_t p) { return (view.marks[p] & kOnOutline) && view.index[p] >= 0; }

// The flow of colour between a pixel on an outline and a neighbour, which stands for the derivative at its centre, per way that either
// goes.
AVA_RASTER double Flow(const View& view, int64_t p, int64_t q) {
  if (view.index[q] < 0 || IsCut(view, p, q)) return 0.0;
  return -0.25 * Difference(view, p, q, p);  // half the difference, at the mean of both velocities
}

// Adds to the gradient [3][3] of the corners' (X, Y, w) of what a pixel sees what one by its place gives.
AVA_RASTER void AddPlace(const View& view, int64_t pixel, double dx, double dy, double* to) {
  const float* b = view.barycentrics + 3 * pixel;
  const double x = static_cast<double>(pixel % view.width), y = static_cast<double>(pixel / view.width);
  const double over = 1.0 / AxisDepth(view, pixel);
  for (int i = 0; i < 3; ++i) {
    to[3 * i] += b[i] * dx * over;
    to[3 * i + 1] += b[i] * dy * over;
    to[3 * i + 2] -= b[i] * (dx * x + dy * y) * over;
  }
}

AVA_RASTER bool MayMeet(const View& view, int64_t p, int64_t q) {
  return view.index[p] != view.index[q] && view.index[p] >= 0 && view.index[q] >= 0 && !IsCut(view, p, q);
}

// Whether a triangle lies at a point, before or behind what is seen there.
AVA_RASTER bool Holds(const Triangle& t, double x, double y) {
  double c[3];
  OverDepth(t, x, y, c);
  return c[0] >= 0.0 && c[1] >= 0.0 && c[2] >= 0.0;
}

// What the line where two triangles pass through each other changes between pixels p and q, q following along the axis, per way that it
// moves from p to q.
AVA_RASTER double AlongMeeting(const View& view, const Meeting& m, int64_t p, int64_t q) {
  return Difference(view, m.at < 0.5 ? p : q, p, q);
}

// Adds its gradient [3][3] to the corners of the first or of the second triangle.
AVA_RASTER void AddMeeting(const Meeting& m, double along, bool second, double* to) {
  for (int pixel = 0; pixel < 2; ++pixel) {
    const double by = second ? along * m.by_first[pixel] : -along * m.by_first[pixel];
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 3; ++i) {
        to[3 * j + i] += second ? by * m.c_second[pixel][j] * m.normal_second[i] : by * m.c_first[pixel][j] * m.normal_first[i];
      }
    }
  }
}

}  // namespace rasterize
}  // namespace ava
