#include "outline_cpu.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "outline_view.h"

namespace ava {
namespace rasterize {
namespace {

std::unique_ptr<Vertex[]> MakeVertices(const Scene& s, int64_t image) {
  std::unique_ptr<Vertex[]> made(new Vertex[std::max<int64_t>(s.vertices, 1)]);
  const Range range = RangeOf(s);
  for (int64_t i = 0; i < s.vertices; ++i) made[i] = MakeVertex(s.given + (image * s.vertices + i) * s.components, range);
  return made;
}

// Calls run(edge, ends, crossing) for each pixel that an outline which is seen crosses.
template <class Run>
void ForCrossings(const View& view, const Outlines& outlines, const Run& run) {
  for (int64_t i = 0; i < outlines.edges; ++i) {
    const int32_t* edge = outlines.edge + 4 * i;
    Vertex end[2];
    Outline o;
    if (!OutlineOf(view, edge, end, &o)) continue;
    Walk walk = StartWalk(o, Window{{0, 0}, {view.width, view.height}});
    for (Crossing c; NextCrossing(o, view.height, view.width, &walk, &c);) {
      if (IsVisible(view, o, c)) run(edge, end, c);
    }
  }
}

// Adds a gradient [3][3] by the corners of the triangle that a pixel sees.
void AddCorners(const View& view, int64_t pixel, const double* from, double* d_vertices) {
  if (!NamesCorners(view, view.index[pixel])) return;
  for (int i = 0; i < 3; ++i) {
    double* to = d_vertices + view.faces[3 * static_cast<int64_t>(view.index[pixel]) + i] * view.components;
    for (int k = 0; k < 3; ++k) to[k] += from[3 * i + k];
  }
}

void AddFlow(const View& view, int64_t p, int64_t q, double dx, double dy, double* d_vertices) {
  const double by = Flow(view, p, q);
  if (by == 0.0) return;
  for (const int64_t at : {p, q}) {
    double corners[9] = {};
    AddPlace(view, at, by * dx, by * dy, corners);
    AddCorners(view, at, corners, d_vertices);
  }
}

void AddFlows(const View& view, double* d_vertices) {
  for (int32_t y = 0; y < view.height; ++y) {
    for (int32_t x = 0; x < view.width; ++x) {
      const int64_t p = static_cast<int64_t>(y) * view.width + x;
      if (!HasFlow(view, p)) continue;
      if (x + 1 < view.width) AddFlow(view, p, p + 1, 1.0, 0.0, d_vertices);
      if (x > 0) AddFlow(view, p, p - 1, -1.0, 0.0, d_vertices);
      if (y + 1 < view.height) AddFlow(view, p, p + view.width, 0.0, 1.0, d_vertices);
      if (y > 0) AddFlow(view, p, p - view.width, 0.0, -1.0, d_vertices);
    }
  }
}

// False where a point surely lies outside of the triangle that a pixel sees, which settles nearly all pairs of neighbours. The exact test
// decides near an edge, and where corners come near the camera.
bool MayHoldAt(const View& view, int64_t pixel, double x, double y) {
  if (!NamesCorners(view, view.index[pixel])) return false;
  const int32_t* face = view.faces + 3 * static_cast<int64_t>(view.index[pixel]);
  double dx[3], dy[3];
  for (int i = 0; i < 3; ++i) {
    const Vertex& v = view.made[face[i]];
    if (v.kind != Corner::kFront) return true;
    dx[i] = v.x - x, dy[i] = v.y - y;
  }
  bool left = false, right = false;
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3;
    const double a = dx[i] * dy[j], b = dx[j] * dy[i], rounding = 1e-9 * (std::abs(a) + std::abs(b));
    left |= a - b > rounding;
    right |= b - a > rounding;
  }
  return !(left && right);
}

void AddMeetingOf(const View& view, int64_t p, int32_t column, int32_t row, int axis, double* d_vertices) {
  const int64_t q = axis == 0 ? p + 1 : p + view.width;
  if (!MayMeet(view, p, q)) return;
  Vertex v[3], u[3];
  Triangle first, second;
  const double x[2] = {static_cast<double>(column), static_cast<double>(column + (axis == 0))};
  const double y[2] = {static_cast<double>(row), static_cast<double>(row + (axis == 1))};
  if (!MayHoldAt(view, p, x[1], y[1]) || !MayHoldAt(view, q, x[0], y[0])) return;
  if (!CornersOf(view, view.index[p], v) || !CornersOf(view, view.index[q], u)) return;
  if (!MakeTriangle(v[0], v[1], v[2], view.range, &first) || !Holds(first, x[1], y[1])) return;
  if (!MakeTriangle(u[0], u[1], u[2], view.range, &second)) return;
  Meeting m;
  if (!MakeMeeting(first, second, x, y, axis, &m)) return;
  const double along = AlongMeeting(view, m, p, q);
  for (int side = 0; side < 2; ++side) {
    double corners[9] = {};
    AddMeeting(m, along, side == 1, corners);
    AddCorners(view, side ? q : p, corners, d_vertices);
  }
}

void AddMeetings(const View& view, double* d_vertices) {
  for (int32_t y = 0; y < view.height; ++y) {
    for (int32_t x = 0; x < view.width; ++x) {
      const int64_t p = static_cast<int64_t>(y) * view.width + x;
      if (view.index[p] < 0) continue;
      if (x + 1 < view.width) AddMeetingOf(view, p, x, y, 0, d_vertices);
      if (y + 1 < view.height) AddMeetingOf(view, p, x, y, 1, d_vertices);
    }
  }
}

}  // namespace

void MarkOutlines(const Scene& s, const Outlines& o, uint8_t* marks, const Pool& pool) {
  const int64_t pixels = static_cast<int64_t>(s.height) * s.width;
  ParallelFor(pool, s.batch, [&](int64_t image, int) {
    uint8_t* to = marks + image * pixels;
    std::fill(to, to + pixels, uint8_t{0});
    const auto made = MakeVertices(s, image);
    ForCrossings(MakeView(s, RangeOf(s), o, made.get(), image), o, [&](const int32_t*, const Vertex*, const Crossing& c) {
      to[static_cast<int64_t>(c.row) * s.width + c.column] |= kOnOutline;
      if (c.cut_right >= 0) to[c.cut_right] |= kCutRight;
      if (c.cut_below >= 0) to[c.cut_below] |= kCutBelow;
    });
  });
}

void OutlineGradient(const Scene& s, const Outlines& o, float* d_vertices, const Pool& pool) {
  const int64_t numbers = s.vertices * s.components;
  ParallelFor(pool, s.batch, [&](int64_t image, int) {
    const auto made = MakeVertices(s, image);
    const View view = MakeView(s, RangeOf(s), o, made.get(), image);
    std::vector<double> sum(numbers, 0.0);
    ForCrossings(view, o, [&](const int32_t* edge, const Vertex* end, const Crossing& c) {
      const double along = AlongCrossing(view, c), share[2] = {1.0 - c.t, c.t};
      for (int i = 0; i < 2; ++i) {
        const double by = along * share[i];
        AddToCorner(end[i], by * c.normal[0], by * c.normal[1], sum.data() + static_cast<int64_t>(edge[i]) * s.components);
      }
    });
    AddFlows(view, sum.data());
    AddMeetings(view, sum.data());
    std::copy(sum.begin(), sum.end(), d_vertices + image * numbers);
  });
}

}  // namespace rasterize
}  // namespace ava
