// Random scenes for the rasteriser's kernels, without XLA or Python: odd sizes, soups, closed surfaces, piles on one pixel, triangles that
// cross the near plane, and hostile numbers. Arrays have exactly their size, so that a sanitizer sees a step past their ends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../ffi/rasterize/cpu.h"
#include "../../ffi/rasterize/outline_cpu.h"
#include "../../ffi/texture/cpu.h"

namespace {

using Array = std::vector<float>;
using Indices = std::vector<int32_t>;

struct Random {
  std::mt19937 bits;
  double Uniform(double low, double high) { return low + (high - low) * (bits() * 0x1p-32); }
  int64_t Below(int64_t n) { return bits() % n; }
  bool Chance(double p) { return Uniform(0.0, 1.0) < p; }
};

float Extreme(Random* random) {
  const float values[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-38f, 1e-45f, 0.0f, -0.0f, 1e20f, -1e20f, -1.0f};
  return values[random->Below(sizeof values / sizeof values[0])];
}

enum class Kind { kSoup, kClosed, kPile, kNear, kSheet, kCount };

struct Inputs {
  Kind kind;
  bool hostile;  // numbers of any size, NaN, indices of no vertex
  int64_t batch, channels, texels;
  int32_t components, height, width;
  Array vertices, values, texture, uv, level;
  Indices faces, edges;
  std::vector<uint8_t> where;
  bool common;  // one array of values, one texture for all images
  ava::texture::Levels levels;
  ava::texture::Filter filter;
  ava::texture::Wrap wrap;
  Array d_barycentrics, d_depth, cotangent;

  int64_t count() const { return static_cast<int64_t>(vertices.size()) / (batch * components); }
  int64_t triangles() const { return static_cast<int64_t>(faces.size()) / 3; }
  int64_t pixels() const { return static_cast<int64_t>(height) * width; }
};

constexpr float kNearPlane = 0.25f, kFarthest = 3.4028235e38f;

// A vertex of every image by column, row and depth.
struct Corner {
  double x, y, w;
};

void AddTriangle(std::vector<Corner>* corners, Indices* faces, const Corner (&three)[3]) {
  for (const Corner& c : three) {
    faces->push_back(static_cast<int32_t>(corners->size()));
    corners->push_back(c);
  }
}

void MakeSoup(Random* random, const Inputs& in, int64_t triangles, std::vector<Corner>* corners, Indices* faces) {
  const double longest = std::max({in.height, in.width, 3});
  for (int64_t t = 0; t < triangles; ++t) {
    const double spread = std::exp(random->Uniform(-2.0, std::log(longest)));
    const double x = random->Uniform(-0.2, 1.2) * in.width, y = random->Uniform(-0.2, 1.2) * in.height;
    Corner three[3];
    for (Corner& c : three) {
      c = {x + spread * random->Uniform(-1, 1), y + spread * random->Uniform(-1, 1), random->Uniform(1, 4)};
      if (in.kind == Kind::kNear) c.w = random->Uniform(-2, 2);
      if (random->Chance(0.1)) c.x = std::round(c.x), c.y = std::round(c.y);
    }
    AddTriangle(corners, faces, three);
  }
}

void MakePile(Random* random, const Inputs& in, std::vector<Corner>* corners, Indices* faces) {
  const double x = random->Below(in.width), y = random->Below(in.height);
  for (int64_t t = 0; t < 2500; ++t) {
    const double w = t % 3 ? random->Uniform(1, 2) : 1.5;  // many at one depth
    Corner three[3];
    for (Corner& c : three) c = {x + random->Uniform(-1, 1), y + random->Uniform(-1, 1), w};
    AddTriangle(corners, faces, three);
  }
}

// An octahedron whose faces are divided, twice or three times; corners often lie on centres of pixels or between them.
void MakeClosed(Random* random, const Inputs& in, std::vector<Corner>* corners, Indices* faces) {
  struct Point {
    double p[3];
  };
  std::vector<Point> points = {{{1, 0, 0}}, {{-1, 0, 0}}, {{0, 1, 0}}, {{0, -1, 0}}, {{0, 0, 1}}, {{0, 0, -1}}};
  *faces = {0, 2, 4, 2, 1, 4, 1, 3, 4, 3, 0, 4, 2, 0, 5, 1, 2, 5, 3, 1, 5, 0, 3, 5};
  for (int64_t turn = 0; turn < 2 + random->Below(2); ++turn) {
    std::map<std::pair<int32_t, int32_t>, int32_t> middles;
    Indices finer;
    for (size_t f = 0; f < faces->size(); f += 3) {
      int32_t at[6];
      for (int i = 0; i < 3; ++i) at[i] = (*faces)[f + i];
      for (int i = 0; i < 3; ++i) {
        const int32_t a = std::min(at[i], at[(i + 1) % 3]), b = std::max(at[i], at[(i + 1) % 3]);
        const auto [found, is_new] = middles.emplace(std::make_pair(a, b), static_cast<int32_t>(points.size()));
        if (is_new) {
          Point m;
          double square = 0;
          for (int k = 0; k < 3; ++k) m.p[k] = points[a].p[k] + points[b].p[k], square += m.p[k] * m.p[k];
          for (double& x : m.p) x /= std::sqrt(square);
          points.push_back(m);
        }
        at[3 + i] = found->second;
      }
      for (const int k : {0, 3, 5, 1, 4, 3, 2, 5, 4, 3, 4, 5}) finer.push_back(at[k]);
    }
    *faces = finer;
  }
  const double grid = random->Chance(0.5) ? 1.0 : random->Chance(0.5) ? 0.5 : 0.0, size = random->Uniform(0.2, 1.0);
  const double x = random->Uniform(0, in.width), y = random->Uniform(0, in.height);
  for (const Point& point : points) {
    Corner c = {x + size * in.width * point.p[0], y + size * in.height * point.p[1], 2 + point.p[2]};
    if (grid > 0) c.x = std::round(c.x / grid) * grid, c.y = std::round(c.y / grid) * grid, c.w = std::round(c.w * 8) / 8;
    corners->push_back(c);
  }
}

// Covers the picture just once; its inner vertices lie anywhere near their places, often on centres.
void MakeSheet(Random* random, const Inputs& in, std::vector<Corner>* corners, Indices* faces) {
  const int32_t rows = 1 + static_cast<int32_t>(random->Below(std::max(1, in.height / 3)));
  const int32_t columns = 1 + static_cast<int32_t>(random->Below(std::max(1, in.width / 3)));
  const double dy = static_cast<double>(in.height) / rows, dx = static_cast<double>(in.width) / columns;
  for (int32_t i = 0; i <= rows; ++i) {
    for (int32_t j = 0; j <= columns; ++j) {
      Corner c = {-0.5 + j * dx, -0.5 + i * dy, std::exp2(random->Below(3))};  // powers of two: no rounding of pixel times depth
      if (i > 0 && i < rows) c.y += random->Uniform(-0.15, 0.15) * dy;
      if (j > 0 && j < columns) c.x += random->Uniform(-0.15, 0.15) * dx;
      if (random->Chance(0.3) && dx > 3 && dy > 3) {
        if (i > 0 && i < rows) c.y = std::round(c.y);
        if (j > 0 && j < columns) c.x = std::round(c.x);
      }
      if (i == rows) c.y = in.height - 0.5;
      if (j == columns) c.x = in.width - 0.5;
      corners->push_back(c);
    }
  }
  for (int32_t i = 0; i < rows; ++i) {
    for (int32_t j = 0; j < columns; ++j) {
      const int32_t a = i * (columns + 1) + j, b = a + 1, c = a + columns + 1, d = c + 1;
      const int32_t six[2][6] = {{a, b, d, a, d, c}, {b, a, d, d, a, c}};
      for (const int32_t k : six[random->Below(2)]) faces->push_back(k);
    }
  }
}

// As `mesh_edges` of Python makes them, for meshes of at most two triangles an edge.
Indices EdgesOf(const Indices& faces) {
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> found;
  for (size_t f = 0; f < faces.size(); f += 3) {
    for (int i = 0; i < 3; ++i) {
      const int32_t a = faces[f + i], b = faces[f + (i + 1) % 3], third = faces[f + (i + 2) % 3];
      const auto [at, is_new] = found.emplace(std::make_pair(std::min(a, b), std::max(a, b)), std::make_pair(third, -1));
      if (!is_new) at->second.second = third;
    }
  }
  Indices edges;
  for (const auto& [ends, thirds] : found) edges.insert(edges.end(), {ends.first, ends.second, thirds.first, thirds.second});
  return edges;
}

void Ruin(Random* random, Inputs* in) {
  for (int64_t i = random->Below(6); i >= 0 && !in->vertices.empty(); --i) in->vertices[random->Below(in->vertices.size())] = Extreme(random);
  for (int64_t i = random->Below(4); i > 0; --i) in->uv[random->Below(in->uv.size())] = Extreme(random);
  for (int64_t i = random->Below(4); i > 0 && !in->level.empty(); --i) in->level[random->Below(in->level.size())] = Extreme(random);
  const int32_t none[] = {-1, INT32_MAX, INT32_MIN, static_cast<int32_t>(in->count()), 7};
  for (int64_t i = random->Below(4); i > 0; --i) in->faces[random->Below(in->faces.size())] = none[random->Below(5)];
  for (int64_t i = random->Below(6); i > 0; --i) in->edges[random->Below(in->edges.size())] = none[random->Below(5)];
}

void MakeTexture(Random* random, Inputs* in) {
  in->filter = static_cast<ava::texture::Filter>(random->Below(2));
  in->wrap = static_cast<ava::texture::Wrap>(random->Below(3));
  in->levels.count = random->Chance(0.5) ? 1 : 1 + static_cast<int32_t>(random->Below(4));
  int32_t h = 1 + static_cast<int32_t>(random->Below(20)), w = 1 + static_cast<int32_t>(random->Below(20));
  in->texels = 0;
  for (int32_t i = 0; i < in->levels.count; ++i) {
    in->levels.height[i] = h, in->levels.width[i] = w, in->levels.first[i] = in->texels;
    in->texels += static_cast<int64_t>(h) * w;
    h = std::max(1, h / 2), w = std::max(1, w / 2);
  }
  const int64_t all = in->batch * in->pixels();
  in->texture.resize((in->common ? 1 : in->batch) * in->texels * in->channels);
  in->uv.resize(2 * all);
  if (in->levels.count > 1) in->level.resize(all);
  if (random->Chance(0.5)) in->where.resize(all);
  for (float& x : in->texture) x = static_cast<float>(random->Uniform(-1, 1));
  for (float& x : in->uv) x = static_cast<float>(random->Chance(0.2) ? random->Below(5) / 2.0 - 1.0 : random->Uniform(-1.5, 2.5));
  for (float& x : in->level) x = static_cast<float>(random->Uniform(-1, 5));
  for (uint8_t& x : in->where) x = random->Chance(0.6);
}

Inputs MakeInputs(Random* random) {
  const int32_t lengths[] = {1, 1, 2, 3, 5, 7, 8, 9, 13, 31, 32, 33, 41, 70};
  Inputs in;
  in.kind = static_cast<Kind>(random->Below(static_cast<int64_t>(Kind::kCount)));
  in.hostile = in.kind != Kind::kClosed && in.kind != Kind::kSheet && random->Chance(0.5);
  in.components = in.kind == Kind::kNear || random->Chance(0.7) ? 3 : 4;
  in.batch = 1 + random->Below(3), in.channels = 1 + random->Below(4), in.common = random->Chance(0.5);
  in.height = lengths[random->Below(14)], in.width = lengths[random->Below(14)];
  std::vector<Corner> corners;
  if (in.kind == Kind::kPile) MakePile(random, in, &corners, &in.faces);
  if (in.kind == Kind::kClosed) MakeClosed(random, in, &corners, &in.faces);
  if (in.kind == Kind::kSheet) MakeSheet(random, in, &corners, &in.faces);
  if (in.faces.empty()) MakeSoup(random, in, 1 + random->Below(random->Chance(0.2) ? 600 : 40), &corners, &in.faces);
  for (int64_t image = 0; image < in.batch; ++image) {
    for (const Corner& c : corners) {
      in.vertices.insert(in.vertices.end(), {static_cast<float>(c.x * c.w), static_cast<float>(c.y * c.w), static_cast<float>(c.w)});
      if (in.components == 4) in.vertices.push_back(static_cast<float>((c.w / 4 - 0.3) * c.w));
    }
  }
  in.edges = EdgesOf(in.faces);
  MakeTexture(random, &in);
  in.values.resize((in.common ? 1 : in.batch) * in.count() * in.channels);
  for (float& x : in.values) x = static_cast<float>(random->Uniform(-1, 1));
  const int64_t all = in.batch * in.pixels();
  in.d_barycentrics.resize(3 * all), in.d_depth.resize(all), in.cotangent.resize(all * in.channels);
  for (Array* a : {&in.d_barycentrics, &in.d_depth, &in.cotangent}) {
    for (float& x : *a) x = static_cast<float>(random->Uniform(-1, 1));
  }
  if (in.hostile) Ruin(random, &in);
  return in;
}

std::string Describe(const Inputs& in) {
  const char* kinds[] = {"soup", "closed", "pile", "near", "sheet"};
  return std::string(kinds[static_cast<int>(in.kind)]) + (in.hostile ? ", hostile" : "") + ", B " + std::to_string(in.batch) + ", H " +
         std::to_string(in.height) + ", W " + std::to_string(in.width) + ", V " + std::to_string(in.count()) + ", T " +
         std::to_string(in.triangles()) + ", " + std::to_string(in.components) + " components";
}

}  // namespace
