// The mathematics of outlines, for host and device: where an edge that divides what is seen from what lies behind it crosses the pixels,
// and what its motion changes of them.
//
// The value of a pixel is taken to be the mean over its unit square, and its derivative that of the areas on both sides of the outline.
// Colours come from the pixels' centres. At a pixel that an outline crosses, the derivative of the colour at its centre says little: near
// the outline of a round surface it grows without bounds. There the flow of colour over the pixel's borders stands for it, (colour at the
// border - colour at the centre) times the velocity of the surface.
#pragma once

#include "geometry.h"

namespace ava {
namespace rasterize {

// Bits of a pixel's mark.
constexpr uint8_t kOnOutline = 1;   // an outline crosses its square
constexpr uint8_t kCutRight = 2;    // ... the line from its centre to that of its right neighbour
constexpr uint8_t kCutBelow = 4;    // ... to that of the neighbour below

constexpr double kFar = 1e9;  // pixels

// An edge from t = 0 to 1; `normal` points away from the triangle and is as long as the edge.
struct Outline {
  double from[2], by[2], normal[2];
  double over_w[2];
};

AVA_RASTER double SideOf(const Edge& e, const Vertex& v) {
  if (v.kind == Corner::kFront) return e.a * (v.x - e.x0) + e.b * (v.y - e.y0);
  return e.a * v.x + e.b * v.y - (e.a * e.x0 + e.b * e.y0) * v.w;
}

// Whether the edge from a to b is an outline: of one triangle alone, or of two on the same side of it. `c`, `d`: their other corners,
// null for none. Edges that come nearer than the least depth are left out.
AVA_RASTER bool MakeOutline(const Vertex& a, const Vertex& b, const Vertex* c, const Vertex* d, Outline* o) {
  if (a.kind != Corner::kFront || b.kind != Corner::kFront) return false;
  const Edge e = MakeEdge(a, b);
  double side = 0.0, other = 0.0;
  if (c != nullptr && c->kind != Corner::kBad) side = SideOf(e, *c);
  if (d != nullptr && d->kind != Corner::kBad) other = SideOf(e, *d);
  if (side == 0.0) side = other, other = 0.0;
  if (side == 0.0 || side * other < 0.0) return false;
  o->from[0] = a.x, o->from[1] = a.y;
  for (int i = 0; i < 2; ++i) {  // so far away no digits are left of pixels
    const double p = i ? a.y : a.x, q = i ? b.y : b.x;
    if (!(p > -kFar && p < kFar && q > -kFar && q < kFar)) return false;
  }
  o->by[0] = b.x - a.x, o->by[1] = b.y - a.y;
  const double sign = side > 0.0 ? 1.0 : -1.0;  // MakeEdge's line is positive to the left of a -> b, x right and y down
  o->normal[0] = sign * o->by[1], o->normal[1] = -sign * o->by[0];
  o->over_w[0] = 1.0 / a.w, o->over_w[1] = 1.0 / b.w;
  return true;
}

// A part of an outline within one pixel.
struct Crossing {
  double t;          // of its middle
  double normal[2];  // as long as the part
  double depth;
  int32_t row, column;
  // Pixels whose centres lie on both sides of it, in the direction that it faces most: within the triangle, and outside; and one further
  // within, -1 where there is no such pixel.
  int64_t inside, outside, further;
  int64_t beside;  // of `inside`, towards the middle of the edge: what shows the triangle near its corners
  int64_t cut_right, cut_below;  // pixels whose line to that neighbour it crosses; -1 for none
};

// The part of the outline in the picture, pixel after pixel.
struct Walk {
  double t, end;
  double next[2];   // where it meets the next border between columns, between rows
  double border[2];
  int32_t left;     // steps, so that it ends whatever the numbers
};

// The pixels of which a walk goes through a part: from the columns and rows `first` to those before `end`.
struct Window {
  int32_t first[2], end[2];
};

AVA_RASTER Walk StartWalk(const Outline& o, const Window& window) {
  Walk walk = {0.0, 1.0, {2.0, 2.0}, {0.0, 0.0}, 2 * (window.end[0] - window.first[0] + window.end[1] - window.first[1]) + 8};
  const double lowest[2] = {window.first[0] - 0.5, window.first[1] - 0.5}, highest[2] = {window.end[0] - 0.5, window.end[1] - 0.5};
  for (int i = 0; i < 2; ++i) {
    if (o.by[i] == 0.0) {
      if (!(o.from[i] >= lowest[i] && o.from[i] < highest[i])) walk.end = -1.0;
      continue;
    }
    double low = (lowest[i] - o.from[i]) / o.by[i], high = (highest[i] - o.from[i]) / o.by[i];
    if (low > high) {
      const double swap = low;
      low = high, high = swap;
    }
    walk.t = low > walk.t ? low : walk.t;
    walk.end = high < walk.end ? high : walk.end;
  }
  if (!(walk.t < walk.end)) return {1.0, 0.0, {2.0, 2.0}, {0.0, 0.0}, 0};
  for (int i = 0; i < 2; ++i) {
    if (o.by[i] == 0.0) continue;
    const double at = o.from[i] + walk.t * o.by[i];
    const double cell = CeilOf(at + 0.5) - 1.0;  // borders lie at cell - 0.5 < at <= cell + 0.5
    walk.border[i] = o.by[i] > 0.0 ? cell + 0.5 : cell - 0.5;
    walk.next[i] = (walk.border[i] - o.from[i]) / o.by[i];
  }
  return walk;
}

// Pixel of a row and column, -1 outside of the picture.
AVA_RASTER int64_t PixelAt(int32_t row, int32_t column, int32_t height, int32_t width) {
  if (row < 0 || column < 0 || row >= height || column >= width) return -1;
  return static_cast<int64_t>(row) * width + column;
}

AVA_RASTER int32_t FloorInt(double x) { return static_cast<int32_t>(-CeilOf(-x)); }

AVA_RASTER void FillCrossing(const Outline& o, double t0, double t1, int32_t height, int32_t width, Crossing* c) {
  const double t = 0.5 * (t0 + t1), x = o.from[0] + t * o.by[0], y = o.from[1] + t * o.by[1];
  c->t = t;
  c->normal[0] = o.normal[0] * (t1 - t0), c->normal[1] = o.normal[1] * (t1 - t0);
  c->depth = 1.0 / (o.over_w[0] + t * (o.over_w[1] - o.over_w[0]));
  c->row = FloorInt(y + 0.5), c->column = FloorInt(x + 0.5);
  const double nx = o.normal[0], ny = o.normal[1];
  const bool across = (nx < 0.0 ? -nx : nx) > (ny < 0.0 ? -ny : ny);
  const int32_t step = (across ? nx : ny) > 0.0 ? 1 : -1;
  const int32_t low = FloorInt(across ? x : y), in = step > 0 ? low : low + 1;
  const int32_t at[3] = {in, in + step, in - step};
  int64_t pixel[3];
  for (int i = 0; i < 3; ++i) pixel[i] = across ? PixelAt(c->row, at[i], height, width) : PixelAt(at[i], c->column, height, width);
  c->inside = pixel[0], c->outside = pixel[1], c->further = pixel[2];
  const int32_t towards = o.by[across ? 1 : 0] * (0.5 - t) > 0.0 ? 1 : -1;
  c->beside = across ? PixelAt(c->row + towards, in, height, width) : PixelAt(in, c->column + towards, height, width);
  c->cut_right = c->cut_below = -1;
  const double x0 = o.from[0] + t0 * o.by[0], x1 = o.from[0] + t1 * o.by[0];
  const double y0 = o.from[1] + t0 * o.by[1], y1 = o.from[1] + t1 * o.by[1];
  if ((y0 < c->row) != (y1 < c->row)) {
    const double s = (c->row - y0) / (y1 - y0);
    c->cut_right = PixelAt(c->row, FloorInt(x0 + s * (x1 - x0)), height, width);
  }
  if ((x0 < c->column) != (x1 < c->column)) {
    const double s = (c->column - x0) / (x1 - x0);
    c->cut_below = PixelAt(FloorInt(y0 + s * (y1 - y0)), c->column, height, width);
  }
}

// The next part; false at the end.
AVA_RASTER bool NextCrossing(const Outline& o, int32_t height, int32_t width, Walk* walk, Crossing* c) {
  while (walk->t < walk->end && walk->left-- > 0) {
    double to = walk->end;
    for (int i = 0; i < 2; ++i) to = o.by[i] != 0.0 && walk->next[i] < to ? walk->next[i] : to;
    const double from = walk->t;
    walk->t = to > from ? to : from;
    for (int i = 0; i < 2; ++i) {
      if (o.by[i] == 0.0 || !(walk->next[i] <= to)) continue;
      walk->border[i] += o.by[i] > 0.0 ? 1.0 : -1.0;
      walk->next[i] = (walk->border[i] - o.from[i]) / o.by[i];
    }
    if (!(to > from)) continue;
    FillCrossing(o, from, to, height, width, c);
    if (PixelAt(c->row, c->column, height, width) >= 0) return true;
  }
  return false;
}

// Where two triangles pass through each other between two pixels of which each sees the other one.
struct Meeting {
  double at;             // from the first pixel, 0, to the second, 1
  double by_first[2];    // derivatives of it by (1 / w of `first`) - (1 / w of `second`), at either pixel
  double c_first[2][3];  // barycentrics over w of the first triangle, at either pixel
  double c_second[2][3];
  double normal_first[3], normal_second[3];  // derivatives of 1 / w by (x, y, 1)
};

// x, y of the two pixels, one step apart along the axis `axis`, 0 for columns. False where they do not pass through each other there, or
// where the line on which they meet runs along this axis rather than across it: pixels along the other axis have it then.
AVA_RASTER bool MakeMeeting(const Triangle& first, const Triangle& second, const double x[2], const double y[2], int axis, Meeting* m) {
  double gap[2], rows[3][3];
  for (int i = 0; i < 2; ++i) {
    gap[i] = OverDepth(first, x[i], y[i], m->c_first[i]) - OverDepth(second, x[i], y[i], m->c_second[i]);
    for (int k = 0; k < 3; ++k) {  // each centre lies in both triangles
      if (!(m->c_first[i][k] >= 0.0 && m->c_second[i][k] >= 0.0)) return false;
    }
  }
  if (!(gap[0] >= 0.0 && gap[1] <= 0.0 && gap[0] - gap[1] > 0.0)) return false;
  Inverse(first, rows);
  for (int i = 0; i < 3; ++i) m->normal_first[i] = rows[0][i] + rows[1][i] + rows[2][i];
  Inverse(second, rows);
  for (int i = 0; i < 3; ++i) m->normal_second[i] = rows[0][i] + rows[1][i] + rows[2][i];
  double slope[2];
  for (int i = 0; i < 2; ++i) {
    slope[i] = m->normal_first[i] - m->normal_second[i];
    slope[i] = slope[i] < 0.0 ? -slope[i] : slope[i];
  }
  if (axis == 0 ? slope[0] < slope[1] : slope[1] <= slope[0]) return false;
  const double over = 1.0 / (gap[0] - gap[1]);
  m->at = gap[0] * over;
  m->by_first[0] = -gap[1] * over * over;
  m->by_first[1] = gap[0] * over * over;
  return true;
}

// Adds to the gradient of a corner's (X, Y, w) what a gradient by its pixel gives.
AVA_RASTER void AddToCorner(const Vertex& v, double dx, double dy, double* to) {
  const double over = 1.0 / v.w;
  to[0] += dx * over;
  to[1] += dy * over;
  to[2] -= (dx * v.x + dy * v.y) * over;
}

}  // namespace rasterize
}  // namespace ava
