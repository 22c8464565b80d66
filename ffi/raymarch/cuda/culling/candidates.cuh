// Which primitives a tile's rays may meet, and at which steps.
#pragma once

#include "../common/device.cuh"
#include "cones.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kFarStep = 65535;     // of a list: this step and all after it

struct Entry {
  int primitive;
  int first, last;  // the tile's samples in the primitive are among the steps first <= n < last
};

// The same, as it is listed for a tile.
struct alignas(8) TileEntry {
  int primitive;
  unsigned short first, last;
};

// Where a tile's candidates come from: its own list, or its block's, or all primitives.
struct Source {
  const TileEntry* tile;    // null unless listed
  const int32_t* list;      // null for all primitives
  int64_t first_primitive;  // of the frame
  const Cone* cone;         // of the tile
  int count;
};

__device__ __forceinline__ int Candidate(const Source& source, int i) { return source.list == nullptr ? i : source.list[i]; }

__device__ __forceinline__ Entry TestCandidate(const Scratch& scratch, const Source& source, const Cone& cone, const Spread& rays,
                                                int k) {
  Entry out = {k, 0, 0};
  float nearest, farthest;
  const int64_t at = source.first_primitive + k;
  if (!Touches(cone, scratch.spheres[at], &nearest, &farthest)) return out;
  if (!TouchesBox<true>(cone, rays, LoadPose(scratch, at), &nearest, &farthest)) return out;
  const float first = (nearest - cone.base_max) / cone.step_max, last = (farthest - cone.base_min) / cone.step_min;
  constexpr float kSlack = 0.02f, kRounding = 4e-6f;  // in steps; of what was divided, and in a step's position
  // A NaN bounds nothing.
  out.first = static_cast<int>(fminf(fmaxf(first - fabsf(first) * kRounding + (1.0f - kSlack), 0.0f), static_cast<float>(kMaxSteps)));
  out.last = static_cast<int>(fmaxf(fminf(last + fabsf(last) * kRounding + (1.0f + kSlack), static_cast<float>(kMaxSteps)), 0.0f));
  return out;
}

// Not inlined: it is rare, and its loads, which may be on their way when the march begins to read voxels, made nvcc wait for the first two
// voxels of each sample before it read the other six.
__device__ __attribute__((noinline)) Entry TestUnlisted(float4* spheres, float4* matrices, const Cone* cone, int64_t first_primitive, int k) {
  Scratch scratch = {};
  scratch.spheres = spheres, scratch.matrices = matrices;
  return TestCandidate(scratch, {nullptr, nullptr, first_primitive, cone, 0}, *cone, NoSpread(), k);
}

__device__ __forceinline__ Entry Fetch(const Scratch& scratch, const Source& source, int i) {
  if (i >= source.count) return {0, 0, 0};
  if (source.tile == nullptr) {
    return TestUnlisted(scratch.spheres, scratch.matrices, source.cone, source.first_primitive, Candidate(source, i));
  }
  const TileEntry entry = source.tile[i];
  return {entry.primitive, entry.first, entry.last == kFarStep ? kMaxSteps : entry.last};
}

// Of a tile's rays. By a warp.
__device__ __forceinline__ Spread SpreadOf(const SceneRay& ray, bool mine, const Cone& cone) {
  const float3 unit = Normalised(mine ? ray.direction : cone.axis);
  const float3 left = Shuffled(unit, 0), right = Shuffled(unit, kTileWidth - 1);
  float3 across = make_float3(right.x - left.x, right.y - left.y, right.z - left.z);
  const float along = Dot(across, cone.axis);
  across = Normalised(make_float3(across.x - along * cone.axis.x, across.y - along * cone.axis.y, across.z - along * cone.axis.z));
  const float3 down = make_float3(cone.axis.y * across.z - cone.axis.z * across.y, cone.axis.z * across.x - cone.axis.x * across.z,
                                  cone.axis.x * across.y - cone.axis.y * across.x);
  const float x = fabsf(Dot(unit, across)), y = fabsf(Dot(unit, down));
  if (__any_sync(kAllLanes, !(x <= 1.0f && y <= 1.0f))) return NoSpread();
  return {across, down, WarpMaxPositive(x) * 1.00001f + 1e-6f, WarpMaxPositive(y) * 1.00001f + 1e-6f};
}

// Lists the candidates with samples at steps from <= n < until; returns how many there are, or -1 if there are more than `capacity`. `queue`
// has room for 64. *first gets the first step with samples, kMaxSteps if there is none.
__device__ __forceinline__ int ListForTile(const Scratch& scratch, const Source& source, const Cone& cone, const Spread& rays, int from,
                                           int until, int lane, int* queue, int capacity, TileEntry* tile, int* first) {
  int kept = 0, waiting = 0, least = kMaxSteps;
  int next = Candidate(source, min(lane, source.count - 1));  // on its way while the one before is tested
  for (int i = 0; i < source.count; i += kWarp) {
    const int k = next;
    next = Candidate(source, min(i + kWarp + lane, source.count - 1));
    float nearest, farthest;
    const bool near = i + lane < source.count && Touches(cone, scratch.spheres[source.first_primitive + k], &nearest, &farthest);
    const unsigned nears = __ballot_sync(kAllLanes, near);
    // Those whose spheres touch wait, to test 32 boxes at once.
    if (near) queue[waiting + __popc(nears & LanesBelow(lane))] = k;
    waiting += __popc(nears);
    __syncwarp();
    while (waiting >= kWarp || (waiting > 0 && i + kWarp >= source.count)) {
      Entry entry = {0, 0, 0};
      if (lane < waiting) entry = TestCandidate(scratch, source, cone, rays, queue[lane]);
      const int later = queue[lane + kWarp];
      __syncwarp();
      queue[lane] = later;
      __syncwarp();
      waiting = max(waiting - kWarp, 0);
      const bool touches = entry.first < min(entry.last, until) && entry.last > from;
      const unsigned mask = __ballot_sync(kAllLanes, touches);
      if (kept + __popc(mask) > capacity) return -1;
      if (touches) {
        least = min(least, entry.first);
        tile[kept + __popc(mask & LanesBelow(lane))] = {entry.primitive, static_cast<unsigned short>(min(entry.first, kFarStep - 1)),
                                                        static_cast<unsigned short>(min(entry.last, kFarStep))};
      }
      kept += __popc(mask);
    }
  }
  __syncwarp();
  *first = WarpLeast(least);
  return kept;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
