// Rays into tiles and blocks, the cones that bound them, and the spheres that bound primitives.
#include <cmath>
#include <cstring>

#include "bounding.h"
#include "kernel.h"

namespace ava {
namespace raymarch {
namespace {

bool Finite(const float* v) { return std::isfinite(v[0]) && std::isfinite(v[1]) && std::isfinite(v[2]); }

// Steps n with near + n dt < far.
float CountSteps(float near, float far, float step_size) {
  if (!(near < far) || !std::isfinite(near)) return 0.0f;
  const double steps = std::ceil((static_cast<double>(far) - near) / step_size);
  return steps < kMaxSteps ? static_cast<float>(steps) : static_cast<float>(kMaxSteps);
}

void PackRay(const Scene& scene, int64_t index, int ray, Tile* tile) {
  const float* origin = scene.origin + 3 * index;
  const float* direction = scene.direction + 3 * index;
  const float near = scene.bounds[2 * index], far = scene.bounds[2 * index + 1];
  const bool moves = direction[0] != 0.0f || direction[1] != 0.0f || direction[2] != 0.0f;
  const bool finite = Finite(origin) && Finite(direction) && moves;
  tile->count[ray] = finite ? CountSteps(near, far, scene.step_size) : 0.0f;
  for (int i = 0; i < 3; ++i) {
    const bool used = tile->count[ray] > 0.0f;
    // In double: origin and depth are a few times larger than the volume, and cancel.
    tile->start[i][ray] = used ? static_cast<float>(origin[i] + static_cast<double>(near) * direction[i]) : 0.0f;
    tile->step[i][ray] = used ? direction[i] * scene.step_size : 0.0f;
  }
}

void PackCotangent(const Cotangent& cotangent, int64_t index, int ray, Tile* tile) {
  const float* g = cotangent.rgba + 4 * index;
  const float* colour = cotangent.saturation + 4 * index;
  const bool saturated = cotangent.saturation_at[2 * index] != kNever;
  for (int i = 0; i < 3; ++i) tile->cotangent[i][ray] = g[i];
  // Alpha that an earlier sample gains is lost to the saturating one; the ray's own alpha stays 1.
  tile->cotangent[3][ray] = saturated ? -(g[0] * colour[0] + g[1] * colour[1] + g[2] * colour[2]) : g[3];
  tile->saturation[ray] = colour[3];
  tile->saturation_step[ray] = cotangent.saturation_at[2 * index];
  tile->saturation_primitive[ray] = cotangent.saturation_at[2 * index + 1];
  const bool silent = g[0] == 0.0f && g[1] == 0.0f && g[2] == 0.0f && g[3] == 0.0f;
  if (silent) tile->count[ray] = 0.0f;
}

void ClearRay(int ray, Tile* tile) {
  tile->count[ray] = tile->saturation[ray] = 0.0f;
  for (int i = 0; i < 3; ++i) tile->start[i][ray] = tile->step[i][ray] = 0.0f;
  for (int i = 0; i < 4; ++i) tile->cotangent[i][ray] = 0.0f;
  tile->saturation_step[ray] = tile->saturation_primitive[ray] = kNever;
}

struct ConeBuilder {
  double origin[3] = {0, 0, 0}, axis[3] = {0, 0, 0};
  int64_t rays = 0;
};

// The rays' true origins are gone from the tile; they are read again, which costs less than keeping them.
template <class Visit>
void ForEachRay(const Frame& frame, const BlockCorner& corner, const Block& block, int first_tile, int last_tile, Visit visit) {
  for (int t = first_tile; t < last_tile; ++t) {
    for (int ray = 0; ray < kTileRays; ++ray) {
      if (!(block.tiles[t].count[ray] > 0.0f)) continue;
      const int64_t index = RayIndex(frame, corner, t, ray);
      const float* d = frame.scene->direction + 3 * index;
      const double length = std::sqrt(double(d[0]) * d[0] + double(d[1]) * d[1] + double(d[2]) * d[2]);
      const float unit[3] = {float(d[0] / length), float(d[1] / length), float(d[2] / length)};
      visit(frame.scene->origin + 3 * index, unit);
    }
  }
}

Cone MakeCone(const Frame& frame, const BlockCorner& corner, const Block& block, int first_tile, int last_tile) {
  ConeBuilder sum;
  ForEachRay(frame, corner, block, first_tile, last_tile, [&](const float* origin, const float* unit) {
    for (int i = 0; i < 3; ++i) sum.origin[i] += origin[i], sum.axis[i] += unit[i];
    ++sum.rays;
  });
  Cone cone = {};
  cone.radius = -1.0f;
  if (sum.rays == 0) return cone;
  const double length = std::sqrt(sum.axis[0] * sum.axis[0] + sum.axis[1] * sum.axis[1] + sum.axis[2] * sum.axis[2]);
  for (int i = 0; i < 3; ++i) {
    cone.apex[i] = static_cast<float>(sum.origin[i] / sum.rays);
    cone.axis[i] = static_cast<float>(sum.axis[i] / length);
  }
  float radius = 0.0f, sine = 0.0f;
  bool wide = !(length > 0.0);
  ForEachRay(frame, corner, block, first_tile, last_tile, [&](const float* origin, const float* unit) {
    const float* a = cone.axis;
    const float away[3] = {origin[0] - cone.apex[0], origin[1] - cone.apex[1], origin[2] - cone.apex[2]};
    const float x = a[1] * unit[2] - a[2] * unit[1], y = a[2] * unit[0] - a[0] * unit[2], z = a[0] * unit[1] - a[1] * unit[0];
    radius = std::fmax(radius, std::sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2]));
    sine = std::fmax(sine, std::sqrt(x * x + y * y + z * z));
    wide = wide || !(a[0] * unit[0] + a[1] * unit[1] + a[2] * unit[2] > 0.1f);
  });
  cone.sine = sine * 1.00001f + 1e-6f;  // above the rounding of its parts
  cone.cosine = std::sqrt(std::fmax(0.0f, 1.0f - cone.sine * cone.sine));
  float far = 0.0f;
  for (int i = 0; i < 3; ++i) far = std::fmax(far, std::fabs(cone.apex[i]));
  cone.radius = wide ? INFINITY : radius * 1.00001f + far * 1e-6f;
  return cone;
}

}  // namespace

void StoreCone(const Cone& cone, int64_t index, int64_t stride, float* list) {
  float fields[kConeFields];
  std::memcpy(fields, &cone, sizeof fields);
  for (int i = 0; i < kConeFields; ++i) list[i * stride + index] = fields[i];
}

BlockCorner CornerOfBlock(const Frame& frame, int64_t block) {
  const int64_t per_view = frame.blocks_y * frame.blocks_x;
  const int64_t in_view = block % per_view;
  return {block / per_view, in_view / frame.blocks_x * kBlockSide, in_view % frame.blocks_x * kBlockSide};
}

void BoundPrimitive(const Scene& scene, int64_t frame, int64_t k, float sphere[4]) {
  const int64_t at = frame * scene.shape.primitives + k;
  const Pose pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
  for (int i = 0; i < 3; ++i) sphere[i] = pose.position[i];
  sphere[3] = Finite(pose.position) ? BoundingRadius(pose) : NAN;
}

void PackBlock(const Frame& frame, int64_t index, const Cotangent* cotangent, Block* block) {
  const BlockCorner corner = CornerOfBlock(frame, index);
  for (int t = 0; t < kTilesPerBlock; ++t) {
    Tile* tile = &block->tiles[t];
    for (int ray = 0; ray < kTileRays; ++ray) {
      const int64_t at = RayIndex(frame, corner, t, ray);
      ClearRay(ray, tile);
      if (at < 0) continue;
      PackRay(*frame.scene, at, ray, tile);
      if (cotangent != nullptr) PackCotangent(*cotangent, at, ray, tile);
    }
    StoreCone(MakeCone(frame, corner, *block, t, t + 1), t, kTilesPerBlock, block->tile_cones);
  }
  block->cone = MakeCone(frame, corner, *block, 0, kTilesPerBlock);
}

}  // namespace raymarch
}  // namespace ava
