// Which primitives a tile's rays may meet, and at which steps.
#pragma once

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kTileCapacity = 256;  // primitives listed for a tile at once: of all steps, or of as many as have room
constexpr int kFarStep = 65535;     // of a list: this step and all after it

struct Entry {
  int primitive;
  int first, last;  // the tile's samples in the primitive are among the steps first <= n < last
};

struct TileList {
  int primitive[kTileCapacity];
  ushort2 range[kTileCapacity];  // first and last
};

// Where a tile's candidates come from: its own list, or its block's, or all primitives.
struct Source {
  const TileList* tile;     // null unless listed
  const int32_t* list;      // null for all primitives
  int64_t first_primitive;  // of the frame
  int64_t cone;             // the tile, of all frames
  int count;
};

__device__ __forceinline__ int Candidate(const Source& source, int i) { return source.list == nullptr ? i : source.list[i]; }

__device__ __forceinline__ Entry TestCandidate(const Scratch& scratch, const Source& source, const Cone& cone, int k) {
  Entry entry = {k, 0, 0};
  float nearest, farthest;
  const int64_t at = source.first_primitive + k;
  if (!Touches(cone, scratch.spheres[at], &nearest, &farthest)) return entry;
  if (!TouchesBox(cone, LoadPose(scratch, at), &nearest, &farthest)) return entry;
  const float first = (nearest - cone.base_max) / cone.step_max - 1.0f, last = (farthest - cone.base_min) / cone.step_min + 2.0f;
  // A NaN bounds nothing.
  entry.first = static_cast<int>(fminf(fmaxf(first, 0.0f), static_cast<float>(kMaxSteps)));
  entry.last = static_cast<int>(fmaxf(fminf(ceilf(last), static_cast<float>(kMaxSteps)), 0.0f));
  return entry;
}

__device__ __forceinline__ Entry Fetch(const Scratch& scratch, const Source& source, int i) {
  if (i >= source.count) return {0, 0, 0};
  if (source.tile == nullptr) return TestCandidate(scratch, source, LoadCone(scratch.tiles, source.cone), Candidate(source, i));
  const ushort2 range = source.tile->range[i];
  return {source.tile->primitive[i], range.x, range.y == kFarStep ? kMaxSteps : range.y};
}

// Lists the candidates with samples at steps from <= n < until; returns how many there are, or -1 if the list has no room. `queue`
// has room for 64. *first gets the first step with samples, kMaxSteps if there is none.
__device__ __forceinline__ int ListForTile(const Scratch& scratch, const Source& source, int from, int until, int lane, int* queue,
                                           TileList* tile, int* first) {
  const Cone cone = LoadCone(scratch.tiles, source.cone);
  int kept = 0, waiting = 0, least = kMaxSteps;
  for (int i = 0; i < source.count; i += kWarp) {
    const int k = Candidate(source, min(i + lane, source.count - 1));
    float nearest, farthest;
    const bool near = i + lane < source.count && Touches(cone, scratch.spheres[source.first_primitive + k], &nearest, &farthest);
    const unsigned nears = __ballot_sync(kAllLanes, near);
    // Those whose spheres touch wait, to test 32 boxes at once.
    if (near) queue[waiting + __popc(nears & LanesBelow(lane))] = k;
    waiting += __popc(nears);
    __syncwarp();
    while (waiting >= kWarp || (waiting > 0 && i + kWarp >= source.count)) {
      Entry entry = {0, 0, 0};
      if (lane < waiting) entry = TestCandidate(scratch, source, cone, queue[lane]);
      const int later = queue[lane + kWarp];
      __syncwarp();
      queue[lane] = later;
      __syncwarp();
      waiting = max(waiting - kWarp, 0);
      const bool touches = entry.first < min(entry.last, until) && entry.last > from;
      const unsigned mask = __ballot_sync(kAllLanes, touches);
      if (kept + __popc(mask) > kTileCapacity) return -1;
      if (touches) {
        least = min(least, entry.first);
        const int at = kept + __popc(mask & LanesBelow(lane));
        tile->primitive[at] = entry.primitive;
        tile->range[at] = make_ushort2(static_cast<unsigned short>(min(entry.first, kFarStep - 1)),
                                       static_cast<unsigned short>(min(entry.last, kFarStep)));
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
