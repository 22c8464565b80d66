#include "outline_cpu.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "outline.h"

namespace ava {
namespace rasterize {
namespace {

constexpr double kSameDepth = 1.0 - 1e-6;
constexpr double kHidden = 1.0 - 1e-4;  // of the depth of the edge: what is nearer than that hides it

// One image: `depth` is that along the camera's axis, whatever the fragments hold.
struct View {
  const Scene* scene;
  Range range;
  std::unique_ptr<Vertex[]> vertices;
  const Outlines* outlines;
  const int32_t* index;
  const float* depth;
  const float* barycentrics;
};

View MakeView(const Scene& s, const Outlines& o, int64_t image) {
  View view;
  view.scene = &s;
  view.range = RangeOf(s);
  view.vertices.reset(new Vertex[std::max<int64_t>(s.vertices, 1)]);
  for (int64_t i = 0; i < s.vertices; ++i) {
    view.vertices[i] = MakeVertex(s.given + (image * s.vertices + i) * s.components, view.range);
  }
  const int64_t at = image * s.height * s.width;
  view.outlines = &o;
  view.index = o.index + at;
  view.depth = o.depth + at;
  view.barycentrics = o.barycentrics + 3 * at;
  return view;
}

const Vertex* VertexOf(const View& view, int32_t i) {
  return i < 0 || i >= view.scene->vertices ? nullptr : &view.vertices[i];
}

bool CornersOf(const View& view, int32_t triangle, const Vertex* v[3]) {
  if (triangle < 0 || triangle >= view.scene->triangles) return false;
  for (int i = 0; i < 3; ++i) {
    v[i] = VertexOf(view, view.scene->faces[3 * static_cast<int64_t>(triangle) + i]);
    if (v[i] == nullptr) return false;
  }
  return true;
}

// Depth along the camera's axis of what a pixel sees; 0 for nothing.
double DepthOf(const View& view, int64_t pixel) {
  if (view.scene->components == 3) return view.depth[pixel];
  const Vertex* v[3];
  if (!CornersOf(view, view.index[pixel], v)) return 0.0;
  const float* b = view.barycentrics + 3 * pixel;
  return b[0] * v[0]->w + b[1] * v[1]->w + b[2] * v[2]->w;
}

// Whether the triangle that a pixel sees lies before a point of depth `depth`.
bool Hides(const View& view, int64_t pixel, double x, double y, double depth) {
  const Vertex* v[3];
  Triangle t;
  if (!CornersOf(view, view.index[pixel], v) || !MakeTriangle(*v[0], *v[1], *v[2], view.range, &t)) return false;
  double c[3];
  const double over_w = OverDepth(t, x, y, c);
  return c[0] >= 0.0 && c[1] >= 0.0 && c[2] >= 0.0 && over_w * depth * kHidden > 1.0;
}

bool IsVisible(const View& view, const Outline& o, const Crossing& c) {
  if (c.inside < 0 || c.outside < 0) return false;
  const bool open = view.index[c.outside] < 0 || DepthOf(view, c.outside) >= c.depth * kSameDepth;
  return open && !Hides(view, c.inside, o.from[0] + c.t * o.by[0], o.from[1] + c.t * o.by[1], c.depth);
}

// Calls run(edge, outline, crossing) for each pixel that an outline which is seen crosses.
template <class Run>
void ForCrossings(const View& view, const Run& run) {
  const int32_t height = view.scene->height, width = view.scene->width;
  for (int64_t i = 0; i < view.outlines->edges; ++i) {
    const int32_t* edge = view.outlines->edge + 4 * i;
    const Vertex *a = VertexOf(view, edge[0]), *b = VertexOf(view, edge[1]);
    Outline o;
    if (a == nullptr || b == nullptr || !MakeOutline(*a, *b, VertexOf(view, edge[2]), VertexOf(view, edge[3]), &o)) continue;
    Walk walk = StartWalk(o, height, width);
    for (Crossing c; NextCrossing(o, height, width, &walk, &c);) {
      if (IsVisible(view, o, c)) run(edge, c);
    }
  }
}

// Whether an outline passes between two neighbours.
bool IsCut(const uint8_t* marks, int64_t p, int64_t q, int64_t width) {
  const int64_t first = std::min(p, q);
  return marks[first] & (std::max(p, q) - first == width ? kCutBelow : kCutRight);
}

// Adds the gradient of the corners of the triangle that a pixel sees, from one by the place of what it sees there.
void AddToFragment(const View& view, int64_t pixel, double dx, double dy, double* d_vertices) {
  const Vertex* v[3];
  if (!CornersOf(view, view.index[pixel], v)) return;
  const float* b = view.barycentrics + 3 * pixel;
  const int64_t width = view.scene->width;
  const double x = static_cast<double>(pixel % width), y = static_cast<double>(pixel / width), over = 1.0 / DepthOf(view, pixel);
  for (int i = 0; i < 3; ++i) {
    double* to = d_vertices + view.scene->faces[3 * static_cast<int64_t>(view.index[pixel]) + i] * view.scene->components;
    to[0] += b[i] * dx * over;
    to[1] += b[i] * dy * over;
    to[2] -= b[i] * (dx * x + dy * y) * over;
  }
}

struct Colours {
  const float* image;
  const float* cotangent;
  const uint8_t* marks;
  int64_t channels;
};

// Whether a pixel shows the triangle at the edge, and not what lies behind it: its depth is nearer to the edge's than that outside.
bool ShowsTriangle(const View& view, int64_t pixel, const Crossing& c) {
  if (pixel < 0 || view.index[pixel] < 0) return false;
  if (view.index[c.outside] < 0) return true;
  return std::abs(DepthOf(view, pixel) - c.depth) < std::abs(DepthOf(view, c.outside) - c.depth);
}

// What the outline's own motion changes of the pixel that it crosses.
void AddCrossing(const View& view, const Colours& colours, const int32_t* edge, const Crossing& c, double* d_vertices) {
  const int64_t width = view.scene->width, n = colours.channels, p = c.row * width + c.column;
  const int64_t inside = !ShowsTriangle(view, c.inside, c) && ShowsTriangle(view, c.beside, c) ? c.beside : c.inside;
  // The colour within at the border of the pixel: where the pixel's own centre lies outside, half a pixel beyond that which is known.
  const bool beyond = inside == c.inside && inside != p && c.further >= 0 && view.index[c.further] >= 0 && view.index[c.inside] >= 0 &&
                      !IsCut(colours.marks, c.inside, c.further, width);
  double along = 0.0;
  for (int64_t k = 0; k < n; ++k) {
    double within = colours.image[inside * n + k];
    if (beyond) within += 0.5 * (within - colours.image[c.further * n + k]);
    along += colours.cotangent[p * n + k] * (within - colours.image[c.outside * n + k]);
  }
  const double share[2] = {1.0 - c.t, c.t};
  for (int i = 0; i < 2; ++i) {
    const double by = along * share[i];
    AddToCorner(view.vertices[edge[i]], by * c.normal[0], by * c.normal[1], d_vertices + edge[i] * view.scene->components);
  }
}

// The flow of colour between a pixel on an outline and a neighbour, which stands for the derivative at its centre.
void AddFlow(const View& view, const Colours& colours, int64_t p, int64_t q, double dx, double dy, double* d_vertices) {
  if (view.index[q] < 0 || IsCut(colours.marks, p, q, view.scene->width)) return;
  const int64_t n = colours.channels;
  double along = 0.0;
  for (int64_t k = 0; k < n; ++k) along += colours.cotangent[p * n + k] * (colours.image[q * n + k] - colours.image[p * n + k]);
  const double by = -0.25 * along;  // half the difference, at the mean of both velocities
  AddToFragment(view, p, by * dx, by * dy, d_vertices);
  AddToFragment(view, q, by * dx, by * dy, d_vertices);
}

// Whether a point may lie in a triangle: most pairs of neighbours are told apart by that alone.
bool MayHold(const Vertex* const v[3], double x, double y) {
  for (int i = 0; i < 3; ++i) {
    if (v[i]->kind != Corner::kFront) return true;
  }
  return std::min({v[0]->x, v[1]->x, v[2]->x}) <= x && std::max({v[0]->x, v[1]->x, v[2]->x}) >= x &&
         std::min({v[0]->y, v[1]->y, v[2]->y}) <= y && std::max({v[0]->y, v[1]->y, v[2]->y}) >= y;
}

// What the line where two triangles pass through each other changes between pixels p and q, q following along the axis.
void AddMeeting(const View& view, const Colours& colours, int64_t p, int64_t q, int axis, double* d_vertices) {
  const int64_t width = view.scene->width, n = colours.channels;
  if (view.index[p] == view.index[q] || view.index[p] < 0 || view.index[q] < 0 || IsCut(colours.marks, p, q, width)) return;
  const Vertex *v[3], *u[3];
  Triangle first, second;
  const double x[2] = {static_cast<double>(p % width), static_cast<double>(q % width)};
  const double y[2] = {static_cast<double>(p / width), static_cast<double>(q / width)};
  if (!CornersOf(view, view.index[p], v) || !CornersOf(view, view.index[q], u)) return;
  if (!MayHold(v, x[1], y[1]) || !MayHold(u, x[0], y[0])) return;
  if (!MakeTriangle(*v[0], *v[1], *v[2], view.range, &first)) return;
  double c[3];
  OverDepth(first, x[1], y[1], c);
  if (!(c[0] >= 0.0 && c[1] >= 0.0 && c[2] >= 0.0) || !MakeTriangle(*u[0], *u[1], *u[2], view.range, &second)) return;
  Meeting m;
  if (!MakeMeeting(first, second, x, y, axis, &m)) return;
  const int64_t at = m.at < 0.5 ? p : q;
  double along = 0.0;
  for (int64_t k = 0; k < n; ++k) along += colours.cotangent[at * n + k] * (colours.image[p * n + k] - colours.image[q * n + k]);
  for (int j = 0; j < 3; ++j) {
    double* to[2];
    for (int side = 0; side < 2; ++side) {
      const int64_t triangle = view.index[side ? q : p];
      to[side] = d_vertices + view.scene->faces[3 * triangle + j] * view.scene->components;
    }
    for (int pixel = 0; pixel < 2; ++pixel) {
      const double by = along * m.by_first[pixel];
      for (int i = 0; i < 3; ++i) {
        to[0][i] -= by * m.c_first[pixel][j] * m.normal_first[i];
        to[1][i] += by * m.c_second[pixel][j] * m.normal_second[i];
      }
    }
  }
}

void AddMeetings(const View& view, const Colours& colours, double* d_vertices) {
  const int32_t height = view.scene->height, width = view.scene->width;
  for (int32_t y = 0; y < height; ++y) {
    for (int32_t x = 0; x < width; ++x) {
      const int64_t p = static_cast<int64_t>(y) * width + x;
      if (view.index[p] < 0) continue;
      if (x + 1 < width) AddMeeting(view, colours, p, p + 1, 0, d_vertices);
      if (y + 1 < height) AddMeeting(view, colours, p, p + width, 1, d_vertices);
    }
  }
}

void AddFlows(const View& view, const Colours& colours, double* d_vertices) {
  const int32_t height = view.scene->height, width = view.scene->width;
  for (int32_t y = 0; y < height; ++y) {
    for (int32_t x = 0; x < width; ++x) {
      const int64_t p = static_cast<int64_t>(y) * width + x;
      if (!(colours.marks[p] & kOnOutline) || view.index[p] < 0) continue;
      if (x + 1 < width) AddFlow(view, colours, p, p + 1, 1.0, 0.0, d_vertices);
      if (x > 0) AddFlow(view, colours, p, p - 1, -1.0, 0.0, d_vertices);
      if (y + 1 < height) AddFlow(view, colours, p, p + width, 0.0, 1.0, d_vertices);
      if (y > 0) AddFlow(view, colours, p, p - width, 0.0, -1.0, d_vertices);
    }
  }
}

}  // namespace

void MarkOutlines(const Scene& s, const Outlines& o, uint8_t* marks, const Pool& pool) {
  const int64_t pixels = static_cast<int64_t>(s.height) * s.width;
  ParallelFor(pool, s.batch, [&](int64_t image, int) {
    uint8_t* to = marks + image * pixels;
    std::fill(to, to + pixels, uint8_t{0});
    ForCrossings(MakeView(s, o, image), [&](const int32_t*, const Crossing& c) {
      to[static_cast<int64_t>(c.row) * s.width + c.column] |= kOnOutline;
      if (c.cut_right >= 0) to[c.cut_right] |= kCutRight;
      if (c.cut_below >= 0) to[c.cut_below] |= kCutBelow;
    });
  });
}

void OutlineGradient(const Scene& s, const Outlines& o, float* d_vertices, const Pool& pool) {
  const int64_t pixels = static_cast<int64_t>(s.height) * s.width, numbers = s.vertices * s.components;
  ParallelFor(pool, s.batch, [&](int64_t image, int) {
    const View view = MakeView(s, o, image);
    const Colours colours = {o.image + image * pixels * o.channels, o.cotangent + image * pixels * o.channels, o.marks + image * pixels,
                             o.channels};
    std::vector<double> sum(numbers, 0.0);
    ForCrossings(view, [&](const int32_t* edge, const Crossing& c) { AddCrossing(view, colours, edge, c, sum.data()); });
    AddFlows(view, colours, sum.data());
    AddMeetings(view, colours, sum.data());
    std::copy(sum.begin(), sum.end(), d_vertices + image * numbers);
  });
}

}  // namespace rasterize
}  // namespace ava
