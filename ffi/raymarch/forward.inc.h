// Forward pass of one block of rays: narrow the primitives down, then march each ray. Included by kernel.cc alone.
#pragma once

namespace ava {
namespace raymarch {
namespace {

// A primitive on a ray.
struct Hit {
  BoxLine<float> line;
  int32_t first, last;  // steps
  int32_t primitive;
};

// Samples of one hit in the window of steps being composited: colour and alpha, zero where not inside.
struct WindowRow {
  float rgba[kLanes][4];
  int32_t primitive;
};

struct Candidates {
  int32_t* index;
  float *x, *y, *z, *radius;
};

// All that a thread needs beside its block's rays; every array holds K entries, rounded up to whole vectors.
struct ForwardScratch {
  Candidates block, tile;
  float* pose[12];  // of the tile's candidates: position, matrix
  float *first, *last;
  Hit* hits;
  WindowRow* rows;
};

int64_t RoundUp(int64_t n) { return (n + 63) / 64 * 64; }

size_t ForwardScratchBytes(int64_t primitives) {
  return RoundUp(primitives) * (2 * 5 * 4 + 12 * 4 + 2 * 4 + sizeof(Hit) + sizeof(WindowRow)) + 64;
}

template <class T>
T* Carve(char** memory, int64_t count) {
  T* out = reinterpret_cast<T*>(*memory);
  *memory += sizeof(T) * count;
  return out;
}

ForwardScratch CarveScratch(void* memory, int64_t primitives) {
  const int64_t n = RoundUp(primitives);
  char* p = static_cast<char*>(memory);
  ForwardScratch s;
  for (int i = 0; i < 2; ++i) {
    Candidates* c = i == 0 ? &s.block : &s.tile;
    c->index = Carve<int32_t>(&p, n);
    c->x = Carve<float>(&p, n);
    c->y = Carve<float>(&p, n);
    c->z = Carve<float>(&p, n);
    c->radius = Carve<float>(&p, n);
  }
  for (float*& array : s.pose) array = Carve<float>(&p, n);
  s.first = Carve<float>(&p, n);
  s.last = Carve<float>(&p, n);
  s.hits = Carve<Hit>(&p, n);
  s.rows = Carve<WindowRow>(&p, n);
  return s;
}

// Keeps the primitives that the cone may touch, in order. `index` null: primitive i is number i. Arrays end at whole vectors.
int64_t Narrow(const Cone& cone, const Spheres& from, const int32_t* index, int64_t count, Candidates* to) {
  if (cone.radius < 0.0f) return 0;
  const Cones cones = Cones::Of(cone);
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i += kLanes) {
    const Ints touches = Touches(cones, LoadFloats(from.x + i), LoadFloats(from.y + i), LoadFloats(from.z + i),
                                 LoadFloats(from.radius + i)) & (ToInts(LaneIndex()) < static_cast<int32_t>(count - i));
    if (!Any(touches)) continue;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!touches[lane]) continue;
      to->index[kept] = index == nullptr ? static_cast<int32_t>(i + lane) : index[i + lane];
      to->x[kept] = from.x[i + lane];
      to->y[kept] = from.y[i + lane];
      to->z[kept] = from.z[i + lane];
      to->radius[kept++] = from.radius[i + lane];
    }
  }
  return kept;
}

void LoadPoses(const Scene& scene, int64_t frame, int64_t count, ForwardScratch* s) {
  for (int64_t i = 0; i < RoundUp(count); ++i) {
    if (i >= count) {  // whole vectors are read, and these lanes passed over
      for (float* array : s->pose) array[i] = 0.0f;
      continue;
    }
    const int64_t at = frame * scene.shape.primitives + s->tile.index[i];
    const Pose pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
    for (int j = 0; j < 3; ++j) s->pose[j][i] = pose.position[j];
    for (int j = 0; j < 9; ++j) s->pose[3 + j][i] = pose.matrix[j];
  }
}

// Which of the tile's candidates the ray meets, in order of index.
int64_t FindHits(const Tile& tile, int ray, int64_t count, ForwardScratch* s) {
  Floats start[3], step[3];
  for (int i = 0; i < 3; ++i) start[i] = Splat(tile.start[i][ray]), step[i] = Splat(tile.step[i][ray]);
  const Floats steps = Splat(tile.count[ray]);
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats position[3], matrix[9], first, last;
    for (int j = 0; j < 3; ++j) position[j] = LoadFloats(s->pose[j] + i);
    for (int j = 0; j < 9; ++j) matrix[j] = LoadFloats(s->pose[3 + j] + i);
    StepRange(ToBox(position, matrix, start, step), steps, &first, &last);
    Store(s->first + i, first);
    Store(s->last + i, last);
  }
  int64_t hits = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!(s->first[i] < s->last[i])) continue;
    Hit* hit = &s->hits[hits++];
    float position[3], matrix[9];
    for (int j = 0; j < 3; ++j) position[j] = s->pose[j][i];
    for (int j = 0; j < 9; ++j) matrix[j] = s->pose[3 + j][i];
    const float from[3] = {start[0][0], start[1][0], start[2][0]}, by[3] = {step[0][0], step[1][0], step[2][0]};
    hit->line = ToBox(position, matrix, from, by);
    hit->first = static_cast<int32_t>(s->first[i]);
    hit->last = static_cast<int32_t>(s->last[i]);
    hit->primitive = s->tile.index[i];
  }
  return hits;
}

struct RayState {
  Float4 rgba;
  Float4 saturation;
  int32_t saturation_step, saturation_primitive;
};

// The hit's samples among the steps window ... window + 7; returns their sum as if nothing saturated.
Float4 SampleWindow(const Scene& scene, int64_t frame, const Hit& hit, int window, WindowRow* row) {
  const Shape& shape = scene.shape;
  const int64_t at = frame * shape.primitives + hit.primitive;
  const int64_t voxels = int64_t{4} * shape.side * shape.side * shape.side;
  const int64_t warp_floats = int64_t{3} * shape.warp_side * shape.warp_side * shape.warp_side;
  const float* warp = scene.warp == nullptr ? nullptr : scene.warp + at * warp_floats;
  Samples s;
  PlaceSamples(hit.line, window, hit.last, shape.side, scene.step_size, &s);
  Float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
  row->primitive = hit.primitive;
  for (int lane = 0; lane < kLanes; ++lane) {
    Float4 sample = {0.0f, 0.0f, 0.0f, 0.0f};
    if (s.inside[lane] && window + lane >= hit.first) {
      sample = ReadSample(s, lane, scene.rgba + at * voxels, shape.side, warp, shape.warp_side);
      sample[3] *= s.opacity[lane];
      const float alpha = sample[3];
      Float4 weighted = sample * alpha;
      weighted[3] = alpha;
      sum += weighted;
    }
    Store(row->rgba[lane], sample);
  }
  return sum;
}

// Composites a window sample by sample, in order of step, then primitive. Whether the ray saturated.
bool CompositeInOrder(const WindowRow* rows, int64_t count, int window, RayState* state) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int64_t i = 0; i < count; ++i) {
      Float4 sample = LoadFloat4(rows[i].rgba[lane]);
      const float before = state->rgba[3], after = before + sample[3];
      const bool saturates = after >= 1.0f;
      const float contribution = saturates ? 1.0f - before : sample[3];
      Float4 weighted = sample * contribution;
      weighted[3] = contribution;
      state->rgba += weighted;
      if (!saturates) continue;
      sample[3] = contribution;
      state->rgba[3] = 1.0f;
      state->saturation = sample;
      state->saturation_step = window + lane;
      state->saturation_primitive = rows[i].primitive;
      return true;
    }
  }
  return false;
}

// Marches in windows of 8 steps: a window needs the order of its samples only when the ray may saturate in it. Windows begin at
// multiples of their length, so that a hit that adds nothing leaves every other sum as it is, bit for bit.
RayState March(const Scene& scene, int64_t frame, int64_t hits, ForwardScratch* s) {
  RayState state = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}, kNever, kNever};
  int32_t window = kNever;
  for (int64_t i = 0; i < hits; ++i) window = s->hits[i].first < window ? s->hits[i].first : window;
  window &= -kLanes;
  while (hits > 0) {
    const int32_t end = window + kLanes;
    int32_t next = kNever;
    int64_t rows = 0, left = 0;
    Float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int64_t i = 0; i < hits; ++i) {
      const Hit hit = s->hits[i];
      if (hit.first < end) sum += SampleWindow(scene, frame, hit, window, &s->rows[rows++]);
      if (hit.last <= end) continue;
      next = hit.first > end ? (hit.first < next ? hit.first : next) : end;
      s->hits[left++] = hit;
    }
    if (state.rgba[3] + sum[3] < 0.999f) {
      state.rgba += sum;
    } else if (CompositeInOrder(s->rows, rows, window, &state)) {
      return state;
    }
    hits = left;
    window = next & -kLanes;
  }
  return state;
}

void WriteRay(const RayState& state, int64_t at, const Image& image) {
  Store(image.rgba + 4 * at, state.rgba);
  Store(image.saturation + 4 * at, state.saturation);
  image.saturation_at[2 * at] = state.saturation_step;
  image.saturation_at[2 * at + 1] = state.saturation_primitive;
}

Cone TileCone(const Block& block, int t) {
  float fields[kConeFields];
  for (int i = 0; i < kConeFields; ++i) fields[i] = block.tile_cones[i * kTilesPerBlock + t];
  Cone cone;
  std::memcpy(&cone, fields, sizeof cone);
  return cone;
}

void ForwardTile(const Frame& frame, const BlockCorner& corner, const Block& block, int t, int64_t candidates,
                 ForwardScratch* s, const Image& image) {
  const Tile& tile = block.tiles[t];
  const Spheres spheres = {s->block.x, s->block.y, s->block.z, s->block.radius};
  const int64_t count = Narrow(TileCone(block, t), spheres, s->block.index, candidates, &s->tile);
  LoadPoses(*frame.scene, frame.index, count, s);
  for (int ray = 0; ray < kTileRays; ++ray) {
    const int64_t at = RayIndex(frame, corner, t, ray);
    if (at < 0) continue;
    const int64_t hits = tile.count[ray] > 0.0f ? FindHits(tile, ray, count, s) : 0;
    WriteRay(March(*frame.scene, frame.index, hits, s), at, image);
  }
}

void ForwardBlock(const Frame& frame, int64_t index, const Block& block, void* memory, const Image& image) {
  const int64_t primitives = frame.scene->shape.primitives;
  const BlockCorner corner = CornerOfBlock(frame, index);
  ForwardScratch s = CarveScratch(memory, primitives);
  const int64_t candidates = Narrow(block.cone, frame.spheres, nullptr, primitives, &s.block);
  for (int t = 0; t < kTilesPerBlock; ++t) ForwardTile(frame, corner, block, t, candidates, &s, image);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
