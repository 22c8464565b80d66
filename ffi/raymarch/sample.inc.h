// One primitive's template along a ray: reading it, and spreading a gradient into it. Included by kernel.cc alone.
#pragma once

namespace ava {
namespace raymarch {
namespace {

typedef Floats VoxelPair;  // two voxels that are neighbours in x, 4 channels each

AVA_LANES Float4 Lower(VoxelPair v) { return Float4{v[0], v[1], v[2], v[3]}; }

AVA_LANES Float4 Upper(VoxelPair v) { return Float4{v[4], v[5], v[6], v[7]}; }

AVA_LANES VoxelPair Pair(Float4 lower, Float4 upper) {
  return VoxelPair{lower[0], lower[1], lower[2], lower[3], upper[0], upper[1], upper[2], upper[3]};
}

// Eight samples of a ray in a primitive's box: where in the template each reads, and what its density is multiplied by.
struct Samples {
  float y[3][kLanes];
  float fraction[3][kLanes];
  int32_t offset[kLanes];  // of the lower voxel, in floats
  float opacity[kLanes];   // fade x step size
  int32_t inside[kLanes];  // 0 or -1
};

// The samples first, first + 1, ... of a line, of which those from `last` on are not inside.
AVA_LANES void PlaceSamples(const BoxLine<float>& line, int first, int last, int side, float step_size, Samples* s) {
  const Floats n = LaneIndex() + static_cast<float>(first);
  Floats y[3], cell[3], fraction[3];
  for (int i = 0; i < 3; ++i) y[i] = n * line.step[i] + line.start[i];
  const Ints inside = Inside(y) & (n < static_cast<float>(last));
  for (int i = 0; i < 3; ++i) {
    y[i] = inside ? y[i] : Splat(0.0f);  // whatever lies outside, NaN too, must index the template like the rest
    VoxelCell(y[i], side, &cell[i], &fraction[i]);
    Store(s->y[i], y[i]);
    Store(s->fraction[i], fraction[i]);
  }
  Store(s->offset, ((ToInts(cell[2]) * side + ToInts(cell[1])) * side + ToInts(cell[0])) * 4);
  Store(s->opacity, Fade(y) * step_size);
  Store(s->inside, inside);
}

// The four pairs around a sample.
struct Neighbourhood {
  VoxelPair near_y0, near_y1, far_y0, far_y1;  // near and far in z

  AVA_LANES Neighbourhood At(const float* voxels, int side) {
    const int row = 4 * side, slice = row * side;
    return {LoadFloats(voxels), LoadFloats(voxels + row), LoadFloats(voxels + slice), LoadFloats(voxels + slice + row)};
  }
};

AVA_LANES VoxelPair Lerp(VoxelPair a, VoxelPair b, float f) { return a + (b - a) * f; }

AVA_LANES Float4 Lerp(Float4 a, Float4 b, float f) { return a + (b - a) * f; }

AVA_LANES Float4 Trilinear(const float* voxels, int side, float fx, float fy, float fz) {
  const Neighbourhood v = Neighbourhood::At(voxels, side);
  const VoxelPair pair = Lerp(Lerp(v.near_y0, v.near_y1, fy), Lerp(v.far_y0, v.far_y1, fy), fz);
  return Lerp(Lower(pair), Upper(pair), fx);
}

struct TrilinearGradient {
  Float4 value, dx, dy, dz;  // of the sample, and by voxel fractions
};

AVA_LANES TrilinearGradient TrilinearWithGradient(const float* voxels, int side, float fx, float fy, float fz) {
  const Neighbourhood v = Neighbourhood::At(voxels, side);
  const VoxelPair near_dy = v.near_y1 - v.near_y0, far_dy = v.far_y1 - v.far_y0;
  const VoxelPair near = v.near_y0 + near_dy * fy, far = v.far_y0 + far_dy * fy;
  const VoxelPair dz = far - near;
  const VoxelPair pair = near + dz * fz, dy = Lerp(near_dy, far_dy, fz);
  const Float4 dx = Upper(pair) - Lower(pair);
  return {Lower(pair) + dx * fx, dx, Lerp(Lower(dy), Upper(dy), fx), Lerp(Lower(dz), Upper(dz), fx)};
}

AVA_LANES void AddPair(float* to, VoxelPair v) { Store(to, LoadFloats(to) + v); }

// Adds a sample's gradient to the voxels that it read.
AVA_LANES void Spread(float* voxels, int side, float fx, float fy, float fz, Float4 gradient) {
  const int row = 4 * side, slice = row * side;
  const VoxelPair pair = Pair(gradient * (1.0f - fx), gradient * fx);
  const VoxelPair near = pair * (1.0f - fz), far = pair * fz;
  AddPair(voxels, near * (1.0f - fy));
  AddPair(voxels + row, near * fy);
  AddPair(voxels + slice, far * (1.0f - fy));
  AddPair(voxels + slice + row, far * fy);
}

// With a warp field the template is read anywhere, and is zero outside: voxel by voxel.
struct WarpedCell {
  int lower[3];  // voxel
  float fraction[3];
  bool touches;  // some voxel has weight
};

AVA_LANES WarpedCell CellAnywhere(const float u[3], int side) {
  WarpedCell cell;
  cell.touches = true;
  for (int i = 0; i < 3; ++i) {
    const float at = (u[i] + 1.0f) * (0.5f * static_cast<float>(side - 1));
    cell.touches = cell.touches && at > -1.0f && at < static_cast<float>(side);
    const float shifted = cell.touches ? at + 1.0f : 0.0f;
    cell.lower[i] = static_cast<int>(shifted) - 1;
    cell.fraction[i] = shifted - static_cast<float>(cell.lower[i] + 1);
  }
  return cell;
}

// Calls visit(index of the voxel, weight, its derivatives by the fractions) for each voxel of the cell that lies in the template.
template <class Visit>
AVA_LANES void ForEachVoxel(const WarpedCell& cell, int side, Visit visit) {
  if (!cell.touches) return;
  for (int corner = 0; corner < 8; ++corner) {
    float weight[3], sign[3];
    int at[3];
    bool in = true;
    for (int i = 0; i < 3; ++i) {
      const bool upper = corner >> i & 1;
      at[i] = cell.lower[i] + (upper ? 1 : 0);
      in = in && at[i] >= 0 && at[i] < side;
      weight[i] = upper ? cell.fraction[i] : 1.0f - cell.fraction[i];
      sign[i] = upper ? 1.0f : -1.0f;
    }
    if (!in) continue;
    const float slopes[3] = {sign[0] * weight[1] * weight[2], weight[0] * sign[1] * weight[2], weight[0] * weight[1] * sign[2]};
    visit((at[2] * side + at[1]) * side + at[0], weight[0] * weight[1] * weight[2], slopes);
  }
}

AVA_LANES Float4 TrilinearZeroOutside(const float* voxels, int side, const WarpedCell& cell) {
  Float4 value = {0.0f, 0.0f, 0.0f, 0.0f};
  ForEachVoxel(cell, side, [&](int at, float weight, const float*) { value += LoadFloat4(voxels + 4 * at) * weight; });
  return value;
}

// The cell of a warp field around y in [-1, 1].
AVA_LANES WarpedCell CellInside(const float y[3], int side) {
  WarpedCell cell;
  cell.touches = true;
  for (int i = 0; i < 3; ++i) {
    const float at = (y[i] + 1.0f) * (0.5f * static_cast<float>(side - 1));
    const int voxel = static_cast<int>(at);
    cell.lower[i] = voxel < side - 2 ? voxel : side - 2;
    cell.fraction[i] = at - static_cast<float>(cell.lower[i]);
  }
  return cell;
}

AVA_LANES void ReadWarp(const float* warp, int side, const WarpedCell& cell, float u[3]) {
  u[0] = u[1] = u[2] = 0.0f;
  ForEachVoxel(cell, side, [&](int at, float weight, const float*) {
    for (int i = 0; i < 3; ++i) u[i] += warp[3 * at + i] * weight;
  });
}

// Colour and density of one lane's sample.
AVA_LANES Float4 ReadSample(const Samples& s, int lane, const float* voxels, int side, const float* warp, int warp_side) {
  if (warp == nullptr) {
    return Trilinear(voxels + s.offset[lane], side, s.fraction[0][lane], s.fraction[1][lane], s.fraction[2][lane]);
  }
  const float y[3] = {s.y[0][lane], s.y[1][lane], s.y[2][lane]};
  float u[3];
  ReadWarp(warp, warp_side, CellInside(y, warp_side), u);
  return TrilinearZeroOutside(voxels, side, CellAnywhere(u, side));
}

// Cones lane by lane, or one in all lanes.
struct Cones {
  Floats apex[3], axis[3], sine, cosine, radius;

  AVA_LANES Cones Of(const Cone& c) {
    Cones cones;
    for (int i = 0; i < 3; ++i) cones.apex[i] = Splat(c.apex[i]), cones.axis[i] = Splat(c.axis[i]);
    cones.sine = Splat(c.sine), cones.cosine = Splat(c.cosine), cones.radius = Splat(c.radius);
    return cones;
  }

  AVA_LANES Cones At(const ConeList& list, int64_t from) {
    const float* p = list.first + from;
    const int64_t n = list.stride;
    Cones cones;
    for (int i = 0; i < 3; ++i) cones.apex[i] = LoadFloats(p + i * n), cones.axis[i] = LoadFloats(p + (3 + i) * n);
    cones.sine = LoadFloats(p + 6 * n), cones.cosine = LoadFloats(p + 7 * n), cones.radius = LoadFloats(p + 8 * n);
    return cones;
  }
};

// Whether rays of the cone may meet the sphere: never false when one does. Cones and spheres lane by lane or one in all lanes.
// Negated comparisons: numbers so large that they overflow to NaN count as touching.
AVA_LANES Ints Touches(const Cones& cone, Floats x, Floats y, Floats z, Floats radius) {
  const Floats vx = x - cone.apex[0], vy = y - cone.apex[1], vz = z - cone.apex[2];
  const Floats along = vx * cone.axis[0] + vy * cone.axis[1] + vz * cone.axis[2];
  const Floats cx = vy * cone.axis[2] - vz * cone.axis[1];
  const Floats cy = vz * cone.axis[0] - vx * cone.axis[2];
  const Floats cz = vx * cone.axis[1] - vy * cone.axis[0];
  const Floats square = cx * cx + cy * cy + cz * cz;
  Floats across = Splat(0.0f);
  for (int i = 0; i < kLanes; ++i) across[i] = __builtin_sqrtf(square[i]);
  const Floats reach = (radius + cone.radius) + across * 2e-6f;
  const Ints apart = (across * cone.cosine - along * cone.sine > reach) | (along < -reach - across * 2e-6f);
  return ~apart & (radius == radius) & (cone.radius >= 0.0f);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
