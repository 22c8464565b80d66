// Windows of steps, and which of a tile's primitives its rays meet in one.
#pragma once

#include "../common/device.cuh"
#include "../culling/candidates.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kSteps = 16;     // of a window at most
constexpr int kRaySlots = 32;  // primitives that a ray may meet in a window: a bit each
// Primitives listed for a tile at once: of all steps, or of as many as have room.
template <int kTileSlots>
constexpr int kTileCapacity = kTileSlots > kRaySlots ? Limit(224, 32) : Limit(128, 32);

// What a warp keeps in shared memory. Up to kTileSlots primitives have slots in a window; where these are more than a ray's, each ray
// numbers those that it meets.
template <int kTileSlots>
struct WindowScratch {
  float4 row[kTileSlots][3];        // of the box's matrix; its offset for positions relative to the window's reference point
  unsigned change[kSteps][kWarp];   // a ray's slots whose samples begin or end with the step
  int primitive[kTileSlots];
  unsigned char slot[kTileSlots > kRaySlots ? kRaySlots : 1][kWarp];  // by ray: the tile's slot of one of its own
  TileEntry list[kTileCapacity<kTileSlots>];
  Cone cone;  // of the tile
  Spread rays;
};

// Steps begin <= n < end, with positions relative to a point near them.
struct Window {
  int base;  // the step whose position is the reference point: bits do not depend on which primitives have slots
  int begin, end;
  float3 reference;
};

// Gives slots to the tile's candidates with samples in the window, in order of index, but for the first `skip`. Returns how many there
// are; `next` gets the first step from the window's end on at which a candidate has samples.
template <int kTileSlots>
__device__ __forceinline__ int FillSlots(const Scratch& scratch, const Source& source, int lane, const Window& window,
                                         int skip, WindowScratch<kTileSlots>* own, int* next) {
  int count = 0, first = kMaxSteps;
  __syncwarp();  // the slots' former primitives are done with
  for (int i = 0; i < source.count; i += kWarp) {
    const Entry entry = Fetch(scratch, source, i + lane);
    const bool some = entry.first < entry.last;
    if (some && entry.last > window.end) first = min(first, max(entry.first, window.end));
    const bool in = some && entry.first < window.end && entry.last > window.begin;
    const unsigned mask = __ballot_sync(kAllLanes, in);
    const int slot = count + __popc(mask & LanesBelow(lane)) - skip;
    count += __popc(mask);
    if (!in || slot < 0 || slot >= kTileSlots) continue;
    const Pose pose = LoadPose(scratch, source.first_primitive + entry.primitive);
    const float v[3] = {window.reference.x - pose.position[0], window.reference.y - pose.position[1],
                        window.reference.z - pose.position[2]};
#pragma unroll
    for (int j = 0; j < 3; ++j) {
      const float* row = pose.matrix + 3 * j;
      own->row[slot][j] = make_float4(row[0], row[1], row[2], row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
    }
    own->primitive[slot] = entry.primitive;
  }
  *next = WarpLeast(first);
  return count;
}

__device__ __forceinline__ bool InsideBox(const float y[3]) {
  return (fabsf(y[0]) < 1.0f) & (fabsf(y[1]) < 1.0f) & (fabsf(y[2]) < 1.0f);
}

__device__ __forceinline__ float Along(const float4& row, const float at[3]) {
  return fmaf(row.z, at[2], fmaf(row.y, at[1], fmaf(row.x, at[0], row.w)));
}

// Whole steps first <= n < last of a ray of `count` steps that hold all samples inside the slot's box. `start` and `by` are the ray's.
// As StepRange, whose cases it has: an axis along which the ray stays is not bounded.
__device__ __forceinline__ void SlotRange(const float4* rows, const float start[3], const float by[3], int count, int* first, int* last) {
  float lo = 0.0f, hi = static_cast<float>(kSteps);
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float4 row = rows[i];
    const float inverse = Reciprocal(row.z * by[2] + (row.y * by[1] + row.x * by[0]));
    const float middle = -Along(row, start) * inverse;
    lo = fmaxf(middle - fabsf(inverse), lo);  // a NaN bounds nothing
    hi = fminf(middle + fabsf(inverse), hi);
  }
  constexpr float kSlack = 1e-3f;  // in steps: covers the rounding of the division
  *first = static_cast<int>(fminf(lo, static_cast<float>(kSteps)) + (1.0f - kSlack));
  *last = min(static_cast<int>(fmaxf(hi, -1.0f) + (1.0f + kSlack)), count);
}

// Notes, by step, which of the window's slots first <= slot < last a lane's ray enters or leaves. `steps` gets those that have samples, a
// bit each. False if the ray meets more than it has room for.
template <int kTileSlots>
__device__ __forceinline__ bool FindSamples(const float start[3], const float by[3], int begin, int count, int first_slot, int last_slot,
                                            int lane, WindowScratch<kTileSlots>* own, unsigned* steps) {
  uint4* words = reinterpret_cast<uint4*>(own->change);
#pragma unroll
  for (int i = 0; i < kSteps / 4; ++i) words[i * kWarp + lane] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  unsigned found = 0, bit = 1;
  int met = 0;
  bool fits = true;
  for (int slot = first_slot; slot < last_slot; ++slot) {
    int first, last;
    SlotRange(own->row[slot], start, by, count, &first, &last);
    first = max(first, begin);
    bool meets = first < last;
    if constexpr (kTileSlots > kRaySlots) {
      // No break: the lanes go on together.
      fits = fits && !(meets && met == kRaySlots);
      meets = meets && fits;
      bit = 1u << met;
    }
    if (meets) {
      if constexpr (kTileSlots > kRaySlots) own->slot[met++][lane] = static_cast<unsigned char>(slot);
      own->change[first][lane] ^= bit;
      if (last < kSteps) own->change[last][lane] ^= bit;
      found |= (kAllLanes >> (32 - (last - first))) << first;
    }
    if constexpr (kTileSlots <= kRaySlots) bit *= 2;
  }
  *steps = found;
  return fits;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
