// Backward pass of one primitive. Before saturation compositing is a sum, so the samples of a primitive need no others:
// each primitive finds its rays, in a fixed order, and owns its gradient. Included by kernel.cc alone.
#pragma once

namespace ava {
namespace raymarch {
namespace {

struct OwnPrimitive {
  int64_t index;
  Pose pose;
  const float* rgba;
  const float* warp;
  float* d_rgba;
  float* d_warp;
  // Of the box coordinates y = matrix v, v = x - position: sums over samples of dL/dy_i and of dL/dy_i v_j. In double: a large
  // primitive sums over a whole image.
  double dy[3];
  double dy_v[9];
};

// The rays of a tile in the primitive's box.
struct TileLines {
  float start[3][kTileRays], step[3][kTileRays];
  float first[kTileRays], last[kTileRays];
};

// Steps of each ray in the box, as far as the ray gets: a sample counts if (step, primitive) <= that of saturation.
bool FindLines(const Tile& tile, const OwnPrimitive& own, TileLines* lines) {
  Ints any = SplatInt(0);
  Floats position[3], matrix[9];
  for (int i = 0; i < 3; ++i) position[i] = Splat(own.pose.position[i]);
  for (int i = 0; i < 9; ++i) matrix[i] = Splat(own.pose.matrix[i]);
  for (int ray = 0; ray < kTileRays; ray += kLanes) {
    Floats start[3], step[3], first, last;
    for (int i = 0; i < 3; ++i) start[i] = LoadFloats(tile.start[i] + ray), step[i] = LoadFloats(tile.step[i] + ray);
    const BoxLine<Floats> line = ToBox(position, matrix, start, step);
    StepRange(line, LoadFloats(tile.count + ray), &first, &last);
    const Ints up_to = LoadInts(tile.saturation_primitive + ray) >= static_cast<int32_t>(own.index);
    const Floats reached = ToFloats(LoadInts(tile.saturation_step + ray)) + (up_to ? Splat(1.0f) : Splat(0.0f));
    last = Min(reached, last);
    for (int i = 0; i < 3; ++i) Store(lines->start[i] + ray, line.start[i]), Store(lines->step[i] + ray, line.step[i]);
    Store(lines->first + ray, first);
    Store(lines->last + ray, last);
    any |= first < last;
  }
  return Any(any);
}

// What one ray hands to its samples.
struct RayCotangent {
  Float4 rgb;   // [3] is 0
  float alpha;  // added to rgb . colour
  float saturation;
  int32_t saturation_step;  // of this primitive's own saturating sample; -1 if it has none
};

RayCotangent LoadCotangent(const Tile& tile, int ray, int64_t primitive) {
  RayCotangent g;
  g.rgb = Float4{tile.cotangent[0][ray], tile.cotangent[1][ray], tile.cotangent[2][ray], 0.0f};
  g.alpha = tile.cotangent[3][ray];
  g.saturation = tile.saturation[ray];
  g.saturation_step = tile.saturation_primitive[ray] == primitive ? tile.saturation_step[ray] : -1;
  return g;
}

// Gradient of a sample's (colour, density) from those of the ray; *log_fade gets that of the logarithm of its fade.
AVA_LANES Float4 SampleCotangent(const RayCotangent& g, int step, Float4 value, float opacity, float* log_fade) {
  if (step == g.saturation_step) {  // what it adds is what the others left, whatever its density
    *log_fade = 0.0f;
    return g.rgb * g.saturation;
  }
  const float alpha = value[3] * opacity;
  const float d_alpha = Sum(value * g.rgb) + g.alpha;
  Float4 gradient = g.rgb * alpha;
  gradient[3] = d_alpha * opacity;
  *log_fade = d_alpha * alpha;
  return gradient;
}

// One lane's sample: spreads its gradient into the voxels and adds to that of its box coordinates.
AVA_LANES void BackwardSample(const RayCotangent& g, const Samples& s, int lane, int step, int side, OwnPrimitive* own,
                              float dy[3][kLanes], float* log_fade) {
  const float fx = s.fraction[0][lane], fy = s.fraction[1][lane], fz = s.fraction[2][lane];
  const TrilinearGradient read = TrilinearWithGradient(own->rgba + s.offset[lane], side, fx, fy, fz);
  const Float4 gradient = SampleCotangent(g, step, read.value, s.opacity[lane], log_fade);
  Spread(own->d_rgba + s.offset[lane], side, fx, fy, fz, gradient);
  const float per_box = 0.5f * static_cast<float>(side - 1);
  dy[0][lane] = Sum(read.dx * gradient) * per_box;
  dy[1][lane] = Sum(read.dy * gradient) * per_box;
  dy[2][lane] = Sum(read.dz * gradient) * per_box;
}

// The same through a warp field.
void BackwardWarpedSample(const RayCotangent& g, const Samples& s, int lane, int step, const Shape& shape, OwnPrimitive* own,
                          float dy[3][kLanes], float* log_fade) {
  const float y[3] = {s.y[0][lane], s.y[1][lane], s.y[2][lane]};
  const WarpedCell field = CellInside(y, shape.warp_side);
  float u[3];
  ReadWarp(own->warp, shape.warp_side, field, u);
  const WarpedCell cell = CellAnywhere(u, shape.side);
  const Float4 value = TrilinearZeroOutside(own->rgba, shape.side, cell);
  const Float4 gradient = SampleCotangent(g, step, value, s.opacity[lane], log_fade);
  float du[3] = {0.0f, 0.0f, 0.0f}, d[3] = {0.0f, 0.0f, 0.0f};
  ForEachVoxel(cell, shape.side, [&](int at, float weight, const float* slopes) {
    const float along = Sum(LoadFloat4(own->rgba + 4 * at) * gradient) * (0.5f * static_cast<float>(shape.side - 1));
    for (int i = 0; i < 3; ++i) du[i] += slopes[i] * along;
    float* voxel = own->d_rgba + 4 * at;
    Store(voxel, LoadFloat4(voxel) + gradient * weight);
  });
  ForEachVoxel(field, shape.warp_side, [&](int at, float weight, const float* slopes) {
    const float* w = own->warp + 3 * at;
    const float along = (w[0] * du[0] + w[1] * du[1] + w[2] * du[2]) * (0.5f * static_cast<float>(shape.warp_side - 1));
    for (int i = 0; i < 3; ++i) {
      d[i] += slopes[i] * along;
      own->d_warp[3 * at + i] += du[i] * weight;
    }
  });
  for (int i = 0; i < 3; ++i) dy[i][lane] = d[i];
}

void BackwardRay(const Scene& scene, const Tile& tile, const TileLines& lines, int ray, OwnPrimitive* own) {
  const int first = static_cast<int>(lines.first[ray]), last = static_cast<int>(lines.last[ray]);
  const RayCotangent g = LoadCotangent(tile, ray, own->index);
  BoxLine<float> line;
  for (int i = 0; i < 3; ++i) line.start[i] = lines.start[i][ray], line.step[i] = lines.step[i][ray];
  float dy[3] = {0.0f, 0.0f, 0.0f}, dy_n[3] = {0.0f, 0.0f, 0.0f};  // sums of dL/dy and, from `first` on, of n dL/dy
  for (int window = first; window < last; window += kLanes) {
    Samples s;
    PlaceSamples(line, window, last, scene.shape.side, scene.step_size, &s);
    float lane_dy[3][kLanes] = {}, log_fade[kLanes] = {};
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!s.inside[lane]) continue;
      if (own->warp == nullptr) {
        BackwardSample(g, s, lane, window + lane, scene.shape.side, own, lane_dy, &log_fade[lane]);
      } else {
        BackwardWarpedSample(g, s, lane, window + lane, scene.shape, own, lane_dy, &log_fade[lane]);
      }
    }
    const Floats n = LaneIndex() + static_cast<float>(window - first);
    for (int i = 0; i < 3; ++i) {
      const Floats d = LoadFloats(lane_dy[i]) + LogFadeGradient(LoadFloats(s.y[i])) * LoadFloats(log_fade);
      dy[i] += Sum(d);
      dy_n[i] += Sum(d * n);
    }
  }
  for (int j = 0; j < 3; ++j) {
    const double step = tile.step[j][ray], v = tile.start[j][ray] + first * step - own->pose.position[j];
    for (int i = 0; i < 3; ++i) own->dy_v[3 * i + j] += dy[i] * v + dy_n[i] * step;
  }
  for (int i = 0; i < 3; ++i) own->dy[i] += dy[i];
}

void BackwardTile(const Scene& scene, const Tile& tile, OwnPrimitive* own) {
  TileLines lines;
  if (!FindLines(tile, *own, &lines)) return;
  for (int ray = 0; ray < kTileRays; ++ray) {
    if (lines.first[ray] < lines.last[ray]) BackwardRay(scene, tile, lines, ray, own);
  }
}

// Calls visit(i) for each of the first `count` cones that may meet the primitive's sphere, in order.
template <class Visit>
AVA_LANES void ForEachTouching(const ConeList& cones, int64_t count, const float sphere[4], Visit visit) {
  const Floats x = Splat(sphere[0]), y = Splat(sphere[1]), z = Splat(sphere[2]), radius = Splat(sphere[3]);
  for (int64_t i = 0; i < count; i += kLanes) {
    const Ints touches = Touches(Cones::At(cones, i), x, y, z, radius);
    if (!Any(touches)) continue;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (touches[lane]) visit(i + lane);
    }
  }
}

// y_i = scale_i sum_j rotation_ji v_j.
void WritePoseGradient(const OwnPrimitive& own, const float* rotation, const float* scale, float* d_position,
                       float* d_rotation, float* d_scale) {
  for (int i = 0; i < 3; ++i) {
    double position = 0.0, along = 0.0;
    for (int j = 0; j < 3; ++j) {
      position -= own.pose.matrix[3 * j + i] * own.dy[j];
      along += rotation[3 * j + i] * own.dy_v[3 * i + j];
      d_rotation[3 * j + i] = static_cast<float>(scale[i] * own.dy_v[3 * i + j]);
    }
    d_position[i] = static_cast<float>(position);
    d_scale[i] = static_cast<float>(along);
  }
}

void WriteNoGradient(int64_t at, int64_t voxels, int64_t warp_floats, const Gradient& gradient) {
  for (int i = 0; i < 3; ++i) gradient.position[3 * at + i] = gradient.scale[3 * at + i] = 0.0f;
  for (int i = 0; i < 9; ++i) gradient.rotation[9 * at + i] = 0.0f;
  for (int64_t i = 0; i < voxels; ++i) gradient.rgba[at * voxels + i] = 0.0f;
  for (int64_t i = 0; i < warp_floats; ++i) gradient.warp[at * warp_floats + i] = 0.0f;
}

void BackwardPrimitive(const Frame& frame, int64_t k, const Block* blocks, const ConeList& cones, const Gradient& gradient) {
  const Scene& scene = *frame.scene;
  const Shape& shape = scene.shape;
  const int64_t at = frame.index * shape.primitives + k;
  const int64_t voxels = int64_t{4} * shape.side * shape.side * shape.side;
  const int64_t warp_floats = int64_t{3} * shape.warp_side * shape.warp_side * shape.warp_side;
  WriteNoGradient(at, voxels, warp_floats, gradient);
  OwnPrimitive own = {};
  own.index = k;
  own.pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
  own.rgba = scene.rgba + at * voxels;
  own.d_rgba = gradient.rgba + at * voxels;
  own.warp = scene.warp == nullptr ? nullptr : scene.warp + at * warp_floats;
  own.d_warp = gradient.warp == nullptr ? nullptr : gradient.warp + at * warp_floats;
  bool touched = false;
  const float sphere[4] = {frame.spheres.x[k], frame.spheres.y[k], frame.spheres.z[k], frame.spheres.radius[k]};
  ForEachTouching(cones, shape.views * frame.blocks_y * frame.blocks_x, sphere, [&](int64_t b) {
    const Block& block = blocks[b];
    ForEachTouching({block.tile_cones, kTilesPerBlock}, kTilesPerBlock, sphere, [&](int64_t t) {
      touched = true;
      BackwardTile(scene, block.tiles[t], &own);
    });
  });
  if (touched) {
    WritePoseGradient(own, scene.rotation + 9 * at, scene.scale + 3 * at, gradient.position + 3 * at,
                      gradient.rotation + 9 * at, gradient.scale + 3 * at);
  }
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
