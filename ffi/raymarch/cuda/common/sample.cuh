// Reading templates and warp fields.
#pragma once

#include "device.cuh"
#include "voxel.cuh"

namespace ava {
namespace raymarch {

// Trilinear reading of a template [side, side, side] of voxels. With a warp field it is read anywhere, zero outside.
struct Cell {
  int at[3];  // lower voxel
  float fraction[3];
  bool touches;  // some voxel has weight
};

__device__ __forceinline__ Cell CellInside(const float y[3], int side) {
  Cell cell;
  cell.touches = true;
  for (int i = 0; i < 3; ++i) {
    float lower;
    VoxelCell(y[i], side, &lower, &cell.fraction[i]);
    cell.at[i] = static_cast<int>(lower);
  }
  return cell;
}

// The same for side 8, all |y| < 1, without the slow conversions: a number to which 1.5 x 2^23 was added ends in its integer part.
struct Cell8 {
  unsigned x, y, z;
  float fx, fy, fz;
};

constexpr unsigned kAxisBias = 0x4b400000u;

__device__ __forceinline__ void PlaceAxis8(float y, unsigned* biased, float* fraction) {
  const float at = __fmaf_rd(y, 3.5f, 3.5f);  // rounded down, it stays below 7
  const float rounded = __fadd_rd(at, 12582912.0f);
  *biased = __float_as_uint(rounded);
  *fraction = at - (rounded - 12582912.0f);
}

// Axes of the cell are larger than they are by kAxisBias.
__device__ __forceinline__ Cell8 PlaceInside8(const float y[3]) {
  Cell8 cell;
  PlaceAxis8(y[0], &cell.x, &cell.fx);
  PlaceAxis8(y[1], &cell.y, &cell.fy);
  PlaceAxis8(y[2], &cell.z, &cell.fz);
  return cell;
}

__device__ __forceinline__ Cell CellAnywhere(const float u[3], int side) {
  Cell cell;
  cell.touches = true;
  float at[3];
  for (int i = 0; i < 3; ++i) {
    at[i] = (u[i] + 1.0f) * (0.5f * static_cast<float>(side - 1));
    cell.touches = cell.touches && at[i] > -1.0f && at[i] < static_cast<float>(side);
  }
  for (int i = 0; i < 3; ++i) {
    const float shifted = cell.touches ? at[i] + 1.0f : 0.0f;
    cell.at[i] = static_cast<int>(shifted) - 1;
    cell.fraction[i] = shifted - static_cast<float>(cell.at[i] + 1);
  }
  return cell;
}

// Calls visit(index of the voxel, weight, its derivatives by the fractions) for each voxel of the cell that lies in the template.
template <class Visit>
__device__ __forceinline__ void ForEachVoxel(const Cell& cell, int side, Visit visit) {
  if (!cell.touches) return;
#pragma unroll
  for (int corner = 0; corner < 8; ++corner) {
    float weight[3], sign[3];
    int at[3];
    bool in = true;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const bool upper = corner >> i & 1;
      at[i] = cell.at[i] + (upper ? 1 : 0);
      in = in && at[i] >= 0 && at[i] < side;
      weight[i] = upper ? cell.fraction[i] : 1.0f - cell.fraction[i];
      sign[i] = upper ? 1.0f : -1.0f;
    }
    if (!in) continue;
    const float slopes[3] = {sign[0] * weight[1] * weight[2], weight[0] * sign[1] * weight[2], weight[0] * weight[1] * sign[2]};
    visit((at[2] * side + at[1]) * side + at[0], weight[0] * weight[1] * weight[2], slopes);
  }
}

__device__ __forceinline__ void AddScaled(float4* sum, float4 v, float w) {
  sum->x += v.x * w;
  sum->y += v.y * w;
  sum->z += v.z * w;
  sum->w += v.w * w;
}

template <class Voxel>
__device__ __forceinline__ float4 ReadCell(const Voxel* voxels, int side, const Cell& cell) {
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  ForEachVoxel(cell, side, [&](int at, float weight, const float*) { AddScaled(&value, Widen(__ldg(voxels + at)), weight); });
  return value;
}

__device__ __forceinline__ void ReadWarp(const float* warp, int side, const Cell& cell, float u[3]) {
  u[0] = u[1] = u[2] = 0.0f;
  ForEachVoxel(cell, side, [&](int at, float weight, const float*) {
    for (int i = 0; i < 3; ++i) u[i] += __ldg(warp + 3 * at + i) * weight;
  });
}

}  // namespace raymarch
}  // namespace ava
