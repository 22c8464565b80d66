// A chunk of a primitive's samples, sorted by the cell of the template that they lie in: by one warp, in shared memory, in the same
// order in every run.
#pragma once

#include "../common/sample.cuh"
#include "backward.cuh"
#include "stage.cuh"

namespace ava {
namespace raymarch {
namespace {

// So that the shared memory of 16 warps fits an H200's multiprocessor.
constexpr int kChunkRays = 64, kChunkSamples = 320;
constexpr int kVoxels = 512;
// A cell has the number of its lower voxel. None is the lower one of a row's last.
constexpr int kCells = 7 * 64;
constexpr unsigned kNoCell = kCells - 1;
// An item is what a lane takes at a time: so many samples of a cell, or those left over.
constexpr int kItemSamples = 6;
// A sample: cell, sample before in the same cell, ray; whether it completes an item, whether it saturates its ray.
constexpr int kLink = 9, kRay = 18, kWhole = 25, kSaturates = 26;
constexpr unsigned kSampleMask = 511, kRayMask = 127;
constexpr int kTogether = 2;  // groups of 32 samples
static_assert(kItemSamples < 8, "so many classes");
static_assert(kChunkRays <= kRayMask + 1 && kChunkSamples <= kSampleMask + 1 && kChunkSamples <= kCells, "numbers have room");
static_assert(kChunkSamples % (kTogether * kWarp) == 0, "and groups");

// Samples are numbered ray after ray.
struct Chunk {
  float4 start[kChunkRays];      // relative to the primitive's position; first step, less the number of the first sample
  float4 step[kChunkRays];       // ray's step; how much of the sample that saturates the ray counted
  float4 cotangent[kChunkRays];
  unsigned samples[kChunkSamples];
  // Of each cell: samples that are no whole item yet << kLink | last sample. Then the items in order: last sample << 3 | samples.
  uint16_t cells[kCells];
  // Bits of samples: of a ray the first; those that saturate theirs.
  unsigned heads[kChunkSamples / kWarp], ends[kChunkSamples / kWarp];
};

// How much of a chunk is in use; the same in all lanes.
struct Filled {
  int rays = 0, samples = 0;
};

// Adds the tile's samples in the primitive from step `done` of each ray on, as far as there is room. Returns whether the tile is
// finished; `done` is where to go on if not.
__device__ __forceinline__ bool FillFromTile(const Scratch& scratch, const PackedRay& ray, int primitive, const Pose& pose, int lane,
                                             float* done, Chunk* chunk, Filled* filled) {
  const float from[3] = {ray.start.x, ray.start.y, ray.start.z}, step[3] = {ray.step.x, ray.step.y, ray.step.z};
  const BoxLine<float> line = ToBox(pose.position, pose.matrix, from, step);
  // A sample counts if (step, primitive) <= that of saturation; the ray's steps end with the one of saturation.
  const float end = ray.start.w - (ray.saturation.y < primitive ? 1.0f : 0.0f);
  float first, last;
  StepRange(line, end, &first, &last);
  first = fmaxf(first, *done);
  const int count = ray.start.w > 0.0f && first < last ? static_cast<int>(last - first) : 0;
  const unsigned mask = __ballot_sync(kAllLanes, count > 0);
  *done = 0.0f;
  if (mask == 0) return true;
  const int before = InclusiveSum(count, lane) - count, slot = filled->rays + __popc(mask & LanesBelow(lane));
  const int room = slot < kChunkRays ? kChunkSamples - filled->samples - before : 0;
  const int taken = max(min(count, room), 0);
  const unsigned takes = __ballot_sync(kAllLanes, taken > 0), leaves = __ballot_sync(kAllLanes, taken < count);
  if (taken > 0) {
    const int sample = filled->samples + before, end_sample = sample + taken - 1;
    chunk->start[slot] = make_float4(ray.start.x - pose.position[0], ray.start.y - pose.position[1], ray.start.z - pose.position[2],
                                     first - static_cast<float>(sample));
    chunk->step[slot] = ray.step;
    CopyAsync(chunk->cotangent + slot, scratch.ray_cotangent + RayIndex(ray.tile, lane));
    atomicOr(chunk->heads + sample / kWarp, 1u << (sample % kWarp));
    if (taken == count && ray.saturation.y == primitive && last == ray.start.w) {
      atomicOr(chunk->ends + end_sample / kWarp, 1u << (end_sample % kWarp));
    }
  }
  if (takes != 0) {
    filled->rays += __popc(takes);
    filled->samples += __shfl_sync(kAllLanes, before + taken, 31 - __clz(takes));
  }
  if (leaves != 0) *done = first + static_cast<float>(taken);
  return leaves == 0;
}

__device__ __forceinline__ void ClearChunk(int lane, Chunk* chunk, Filled* filled) {
  for (int i = lane; i < kChunkSamples / kWarp; i += kWarp) chunk->heads[i] = chunk->ends[i] = 0;
  *filled = Filled();
}

// A sample's cell, kNoCell if it is outside of the box, its ray, and whether it saturates that. `rays`: of those that begin before
// these 32 samples, the last.
struct Found {
  unsigned cell, ray;
  bool saturates;
};

__device__ __forceinline__ Found FindCell(const Pose& pose, int lane, int begin, int samples, const Chunk& chunk, int* rays) {
  const unsigned heads = chunk.heads[begin / kWarp];
  Found found;
  found.ray = *rays + __popc(heads & (LanesBelow(lane) * 2 + 1));
  found.saturates = chunk.ends[begin / kWarp] >> lane & 1;
  *rays += __popc(heads);
  const float4 start = chunk.start[found.ray], by = chunk.step[found.ray];
  const float n = start.w + static_cast<float>(begin + lane);
  const float v[3] = {start.x + n * by.x, start.y + n * by.y, start.z + n * by.z};
  float y[3];
  unsigned at[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    float fraction;
    y[i] = pose.matrix[3 * i] * v[0] + pose.matrix[3 * i + 1] * v[1] + pose.matrix[3 * i + 2] * v[2];
    PlaceAxis8(fminf(fmaxf(y[i], -kInside), kInside), &at[i], &fraction);
  }
  // The sample that saturated the ray was inside, however y rounds here.
  const bool valid = begin + lane < samples && (Inside(y) || found.saturates);
  found.cell = valid ? (at[2] * 64 + at[1] * 8 + at[0]) % kVoxels : kNoCell;  // kAxisBias is a multiple of that
  return found;
}

// Links the samples of each cell, the last one first, and notes those that complete an item.
__device__ __forceinline__ void BinSamples(const Pose& pose, int lane, const Filled& filled, Chunk* chunk) {
  for (int i = lane; i < kCells / 8; i += kWarp) reinterpret_cast<uint4*>(chunk->cells)[i] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  int rays = -1;
  for (int begin = 0; begin < filled.samples; begin += kTogether * kWarp) {
    Found found[kTogether];
#pragma unroll
    for (int b = 0; b < kTogether; ++b) found[b] = FindCell(pose, lane, begin + b * kWarp, filled.samples, *chunk, &rays);
#pragma unroll
    for (int b = 0; b < kTogether; ++b) {
      const unsigned key = found[b].cell, sample = begin + b * kWarp + lane;
      const unsigned same = __match_any_sync(kAllLanes, key), below = same & LanesBelow(lane);
      const unsigned cell = chunk->cells[key];
      const unsigned link = below != 0 ? sample - lane + 31 - __clz(below) : cell & kSampleMask;
      const unsigned count = ((cell >> kLink) + __popc(below)) % kItemSamples + 1;
      const bool valid = key != kNoCell, whole = valid && count == kItemSamples;
      chunk->samples[sample] = key | link << kLink | found[b].ray << kRay | (whole ? 1u << kWhole : 0u) |
                               (found[b].saturates ? 1u << kSaturates : 0u);
      __syncwarp();
      if (valid && same >> lane == 1) chunk->cells[key] = static_cast<uint16_t>((whole ? 0 : count << kLink) | sample);
      __syncwarp();
    }
  }
}

// Lists the items, the most samples first, so that the lanes of a warp that take one each have as much to do; then by their last
// sample. Returns how many there are.
__device__ __forceinline__ int ListItems(int lane, int samples, Chunk* chunk) {
  constexpr int kGroups = kChunkSamples / kWarp;
  unsigned ranked[kGroups];  // items of as many samples before << 3 | samples
  int tally = 0;             // lane c < 8: items of c samples so far
  const unsigned not0 = lane & 1 ? 0u : kAllLanes, not1 = lane & 2 ? 0u : kAllLanes, not2 = lane & 4 ? 0u : kAllLanes;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    ranked[g] = 0;
    if (g * kWarp >= samples) continue;
    const unsigned sample = g * kWarp + lane, entry = chunk->samples[sample], cell = chunk->cells[entry & kSampleMask];
    const unsigned left = (cell & kSampleMask) == sample ? cell >> kLink : 0u, c = entry >> kWhole & 1 ? kItemSamples : left;
    const unsigned bit0 = __ballot_sync(kAllLanes, c & 1), bit1 = __ballot_sync(kAllLanes, c & 2), bit2 = __ballot_sync(kAllLanes, c & 4);
    const unsigned same = (bit0 ^ (c & 1 ? 0u : kAllLanes)) & (bit1 ^ (c & 2 ? 0u : kAllLanes)) & (bit2 ^ (c & 4 ? 0u : kAllLanes));
    ranked[g] = (__shfl_sync(kAllLanes, tally, c) + __popc(same & LanesBelow(lane))) << 3 | c;
    tally += __popc((bit0 ^ not0) & (bit1 ^ not1) & (bit2 ^ not2));
  }
  // Those of more samples come before.
  const int own = lane >= 1 && lane < 8 ? tally : 0;
  int from = own;
#pragma unroll
  for (int i = 1; i < 8; i *= 2) from += __shfl_down_sync(kAllLanes, from, i);  // lanes from 8 on hold 0
  const int items = __shfl_sync(kAllLanes, from, 1), base = from - own;
  __syncwarp();
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    if (g * kWarp >= samples) continue;
    const unsigned c = ranked[g] & 7;
    const unsigned at = __shfl_sync(kAllLanes, base, c) + (ranked[g] >> 3);
    if (c != 0) chunk->cells[at] = static_cast<uint16_t>((g * kWarp + lane) << 3 | c);
  }
  __syncwarp();
  return items;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
