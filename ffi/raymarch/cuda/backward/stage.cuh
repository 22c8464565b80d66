// Which rays meet a primitive, and which of them a warp of the backward pass takes next.
#pragma once

#include "../common/device.cuh"

namespace ava {
namespace raymarch {
namespace {

// Rays that have samples in the primitive, one after the other: those left over from one tile and those of the next.
struct Stage {
  static constexpr int kSlots = 2 * kWarp;
  float4 start[kSlots];      // relative to the primitive's position; first step
  float4 step[kSlots];       // ray's step; how much of a saturating sample counted
  float4 cotangent[kSlots];
  int offset[kSlots];        // samples of the rays before
  int saturation[kSlots];    // step at which the ray saturates in this primitive, or -1
};

// How much of a stage is in use; the same in all lanes.
struct Staged {
  int rays = 0, samples = 0;
};

// A lane's ray of a tile, loaded while the tile before is being worked on.
struct PackedRay {
  unsigned tile;  // no scene that fits a memory has 2^32 of them
  float4 start, step;
  int2 saturation;
};

__device__ __forceinline__ int64_t RayIndex(unsigned tile, int lane) { return static_cast<int64_t>(tile) * kWarp + lane; }

__device__ __forceinline__ PackedRay LoadPacked(const Scratch& scratch, unsigned tile, int lane) {
  const int64_t at = RayIndex(tile, lane);
  return {tile, scratch.ray_start[at], scratch.ray_step[at], scratch.ray_saturation[at]};
}

// Stages the tile's rays that have samples in the primitive, after those staged before.
__device__ __forceinline__ void StageTile(const Scratch& scratch, const PackedRay& ray, int primitive, const Pose& pose, int lane,
                                          Stage* stage, Staged* staged) {
  const float4 start = ray.start, by = ray.step;
  const int2 saturation = ray.saturation;
  const float from[3] = {start.x, start.y, start.z}, step[3] = {by.x, by.y, by.z};
  const BoxLine<float> line = ToBox(pose.position, pose.matrix, from, step);
  // A sample counts if (step, primitive) <= that of saturation; the ray's steps end with the one of saturation.
  const float end = start.w - (saturation.y < primitive ? 1.0f : 0.0f);
  float first, last;
  StepRange(line, end, &first, &last);
  const int count = start.w > 0.0f && first < last ? static_cast<int>(last - first) : 0;
  const unsigned mask = __ballot_sync(kAllLanes, count > 0);
  if (mask == 0) return;
  const int inclusive = InclusiveSum(count, lane);
  if (count > 0) {
    const int slot = staged->rays + __popc(mask & LanesBelow(lane));
    stage->start[slot] = make_float4(start.x - pose.position[0], start.y - pose.position[1], start.z - pose.position[2], first);
    stage->step[slot] = by;
    stage->cotangent[slot] = scratch.ray_cotangent[RayIndex(ray.tile, lane)];
    stage->offset[slot] = staged->samples + inclusive - count;
    stage->saturation[slot] = saturation.y == primitive ? saturation.x : -1;
  }
  staged->rays += __popc(mask);
  staged->samples += __shfl_sync(kAllLanes, inclusive, kWarp - 1);
  __syncwarp();
}

// Forgets the samples before `begin`, of which fewer than 32 are left, and the rays that have no others.
__device__ __forceinline__ void Carry(int lane, int begin, Stage* stage, Staged* staged) {
  const int low = lane < staged->rays ? stage->offset[lane] : INT32_MAX;
  const int high = lane + kWarp < staged->rays ? stage->offset[lane + kWarp] : INT32_MAX;
  const int first = __popc(__ballot_sync(kAllLanes, low <= begin)) + __popc(__ballot_sync(kAllLanes, high <= begin)) - 1;
  staged->samples -= begin;
  staged->rays = staged->samples > 0 ? staged->rays - first : 0;
  const int from = min(first + lane, Stage::kSlots - 1);
  const float4 start = stage->start[from], step = stage->step[from], cotangent = stage->cotangent[from];
  const int offset = stage->offset[from], saturation = stage->saturation[from];
  __syncwarp();
  stage->start[lane] = start;
  stage->step[lane] = step;
  stage->cotangent[lane] = cotangent;
  stage->offset[lane] = offset - begin;
  stage->saturation[lane] = saturation;
  __syncwarp();
}

__device__ __forceinline__ bool MayMeet(const Cones& cones, unsigned i, const float4& sphere, const Pose& pose) {
  const Cone cone = LoadCone(cones, i);
  float nearest, farthest;
  return Touches(cone, sphere, &nearest, &farthest) && TouchesBox(cone, pose, &nearest, &farthest);
}

// Goes through the blocks of a frame whose rays may meet a primitive, in order; the same in all lanes and warps.
struct Walk {
  unsigned next, regions_end;  // regions of the frame to test
  unsigned first_region;       // what the bits of `regions` count from
  unsigned first_block = 0, second_block = 0;  // the blocks of two regions: what the lower and the upper bits of `blocks` count from
  unsigned regions = 0, blocks = 0;

  __device__ __forceinline__ Walk(unsigned frame, const Grid& grid) {
    const unsigned of_frame = static_cast<unsigned>(grid.regions);
    first_region = next = frame * of_frame;
    regions_end = next + of_frame;
  }

  // Finds the next block, and a mask of its tiles; false if there is none.
  __device__ __forceinline__ bool Next(const Scratch& scratch, const float4& sphere, const Pose& pose, int lane, unsigned* block,
                                       unsigned* tiles) {
    for (;;) {
      while (blocks == 0) {
        while (regions == 0) {
          if (next >= regions_end) return false;
          first_region = next;
          const bool in = next + lane < regions_end;
          regions = __ballot_sync(kAllLanes, in && MayMeet(scratch.regions, first_region + (in ? lane : 0), sphere, pose));
          next += kWarp;
        }
        static_assert(2 * kRegionBlockCount == kWarp, "a warp looks through two regions");
        first_block = second_block = (first_region + FirstLane(regions)) * kRegionBlockCount;
        regions &= regions - 1;
        const bool two = regions != 0;
        if (two) second_block = (first_region + FirstLane(regions)) * kRegionBlockCount;
        regions &= regions - 1;
        const unsigned mine = (lane < kRegionBlockCount ? first_block : second_block) + lane % kRegionBlockCount;
        blocks = __ballot_sync(kAllLanes, (two || lane < kRegionBlockCount) && MayMeet(scratch.blocks, mine, sphere, pose));
      }
      const int bit = FirstLane(blocks);
      *block = (bit < kRegionBlockCount ? first_block : second_block) + bit % kRegionBlockCount;
      blocks &= blocks - 1;
      *tiles = __ballot_sync(kAllLanes, MayMeet(scratch.tiles, *block * kBlockTileCount + lane, sphere, pose));
      if (*tiles != 0) return true;
    }
  }
};

}  // namespace
}  // namespace raymarch
}  // namespace ava
