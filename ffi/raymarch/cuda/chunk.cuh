// A chunk of a primitive's samples, sorted by the cell of the template that they lie in: by one warp, in shared memory, in the same
// order in every run.
#pragma once

#include "backward.cuh"
#include "sample.cuh"
#include "stage.cuh"

namespace ava {
namespace raymarch {
namespace {

// So that the shared memory of 14 warps fits an H200's multiprocessor.
constexpr int kChunkRays = 95, kChunkSamples = 384;
constexpr int kLinkBits = 9, kLinkMask = (1 << kLinkBits) - 1;  // samples of a chunk
constexpr int kVoxels = 512;
// A cell has the number of its lower voxel. Rows of cells to which the seventh slice of voxels is the upper one end here.
constexpr int kCellRows = 7 * 64 / kWarp;
// An item is what a lane takes at a time: so many samples of a cell, or those left over.
constexpr int kItemSamples = 6;
constexpr int kWholeItems = 7 * 64;  // no cell has such a number
static_assert(kItemSamples <= 8 && kChunkSamples / kItemSamples <= kVoxels - kWholeItems, "so many classes, so many whole items");
static_assert(kChunkRays >= 2 * kWarp && kChunkRays <= 1 << (16 - kLinkBits), "a tile fits, and so does a ray's number");
static_assert(kChunkSamples <= kLinkMask + 1 && kChunkSamples % kWarp == 0, "so does a sample's");

// Samples are numbered ray after ray. A sample that saturates its ray is a ray of its own.
struct Chunk {
  float4 start[kChunkRays];      // relative to the primitive's position; first step, less the number of the first sample
  float4 step[kChunkRays];       // ray's step; how much of its one sample, which saturates, counted, or -1
  float4 cotangent[kChunkRays];
  // Of each cell: samples that are no whole item yet << 16 | last sample; from kWholeItems on whole items. Then the items in order.
  unsigned cells[kVoxels];
  unsigned heads[kChunkSamples / kWarp];  // bits of samples that begin a ray
  uint16_t samples[kChunkSamples];        // ray << kLinkBits | sample before in the same cell
};

// How much of a chunk is in use; the same in all lanes.
struct Filled {
  int rays = 0, samples = 0;
};

__device__ __forceinline__ void PutRay(const Scratch& scratch, const PackedRay& ray, const Pose& pose, float first, float saturation,
                                       int slot, int sample, Chunk* chunk) {
  chunk->start[slot] = make_float4(ray.start.x - pose.position[0], ray.start.y - pose.position[1], ray.start.z - pose.position[2],
                                   first - static_cast<float>(sample));
  chunk->step[slot] = make_float4(ray.step.x, ray.step.y, ray.step.z, saturation);
  CopyAsync(chunk->cotangent + slot, scratch.ray_cotangent + ray.at);
  atomicOr(chunk->heads + sample / kWarp, 1u << (sample % kWarp));
}

// Adds the tile's samples in the primitive from step `done` on, if they fit; else, to an empty chunk, some of each ray's. Returns
// whether the tile is finished; `done` is where to go on if not.
__device__ __forceinline__ bool FillFromTile(const Scratch& scratch, const PackedRay& ray, int primitive, const Pose& pose, int lane,
                                             float* done, Chunk* chunk, Filled* filled) {
  const float from[3] = {ray.start.x, ray.start.y, ray.start.z}, step[3] = {ray.step.x, ray.step.y, ray.step.z};
  const BoxLine<float> line = ToBox(pose.position, pose.matrix, from, step);
  // A sample counts if (step, primitive) <= that of saturation; the ray's steps end with the one of saturation.
  const float end = ray.start.w - (ray.saturation.y < primitive ? 1.0f : 0.0f);
  float first, last;
  StepRange(line, end, &first, &last);
  first = fmaxf(first, *done);
  int count = ray.start.w > 0.0f && first < last ? static_cast<int>(last - first) : 0;
  if (__ballot_sync(kAllLanes, count > 0) == 0) {
    *done = 0.0f;
    return true;
  }
  bool saturates = count > 0 && ray.saturation.y == primitive && last == ray.start.w;
  int inclusive = InclusiveSum(count, lane);
  int total = __shfl_sync(kAllLanes, inclusive, kWarp - 1);
  const unsigned plain = __ballot_sync(kAllLanes, count > (saturates ? 1 : 0));
  unsigned single = __ballot_sync(kAllLanes, saturates);
  if (filled->samples > 0 &&
      (filled->samples + total > kChunkSamples || filled->rays + __popc(plain) + __popc(single) > kChunkRays)) {
    return false;
  }
  const bool finished = total <= kChunkSamples;
  if (!finished) {
    constexpr int kMost = kChunkSamples / kWarp;
    saturates = saturates && count <= kMost;
    count = min(count, kMost);
    inclusive = InclusiveSum(count, lane);
    total = __shfl_sync(kAllLanes, inclusive, kWarp - 1);
    single = __ballot_sync(kAllLanes, saturates);
  }
  *done = finished ? 0.0f : first + static_cast<float>(count);
  const int sample = filled->samples + inclusive - count;
  int slot = filled->rays + __popc(plain & LanesBelow(lane)) + __popc(single & LanesBelow(lane));
  if (plain >> lane & 1) PutRay(scratch, ray, pose, first, -1.0f, slot++, sample, chunk);
  if (saturates) PutRay(scratch, ray, pose, last - 1.0f, ray.step.w, slot, sample + count - 1, chunk);
  filled->rays += __popc(plain) + __popc(single);
  filled->samples += total;
  return finished;
}

__device__ __forceinline__ void ClearChunk(int lane, Chunk* chunk, Filled* filled) {
  for (int i = lane; i < kChunkSamples / kWarp; i += kWarp) chunk->heads[i] = 0;
  *filled = Filled();
}

// Where an item is: its cell, its last sample, and how many it has.
struct Item {
  int cell, last, count;
};

__device__ __forceinline__ unsigned PackItem(unsigned cell, unsigned last, unsigned count) {
  return cell | last << 9 | count << (9 + kLinkBits);
}

__device__ __forceinline__ Item UnpackItem(unsigned bits) {
  return {static_cast<int>(bits % kVoxels), static_cast<int>(bits >> 9 & kLinkMask), static_cast<int>(bits >> (9 + kLinkBits))};
}

// A sample's cell, kVoxels if it is outside of the box, and its ray. `rays`: of those that begin before these 32 samples, the last.
__device__ __forceinline__ unsigned FindCell(const Pose& pose, int lane, int begin, int samples, const Chunk& chunk, int* rays,
                                             int* ray) {
  const unsigned heads = begin < kChunkSamples ? chunk.heads[begin / kWarp] : 0u;
  *ray = *rays + __popc(heads & (LanesBelow(lane) * 2 + 1));
  *rays += __popc(heads);
  const float4 start = chunk.start[*ray], by = chunk.step[*ray];
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
  const bool valid = begin + lane < samples && (Inside(y) || !(by.w < 0.0f));
  return valid ? (at[2] * 64 + at[1] * 8 + at[0]) % kVoxels : kVoxels;  // kAxisBias is a multiple of that
}

// Links the samples of each cell, the last one first, and notes whole items. Returns how many of those there are.
__device__ __forceinline__ int BinSamples(const Pose& pose, int lane, const Filled& filled, Chunk* chunk) {
  constexpr int kTogether = 2;
  for (int i = lane; i < kWholeItems / 4; i += kWarp) reinterpret_cast<uint4*>(chunk->cells)[i] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  int rays = -1, whole = 0;
  for (int begin = 0; begin < filled.samples; begin += kTogether * kWarp) {
    unsigned key[kTogether];
    int ray[kTogether];
#pragma unroll
    for (int b = 0; b < kTogether; ++b) key[b] = FindCell(pose, lane, begin + b * kWarp, filled.samples, *chunk, &rays, &ray[b]);
#pragma unroll
    for (int b = 0; b < kTogether; ++b) {
      const int sample = begin + b * kWarp + lane;
      const unsigned same = __match_any_sync(kAllLanes, key[b]), below = same & LanesBelow(lane);
      const bool valid = key[b] < kVoxels;
      const unsigned cell = valid ? chunk->cells[key[b]] : 0u;
      const unsigned link = below != 0 ? sample - lane + 31 - __clz(below) : cell & kLinkMask;
      const unsigned count = ((cell >> 16) + __popc(below)) % kItemSamples + 1;
      const unsigned ends = __ballot_sync(kAllLanes, valid && count == kItemSamples);
      VoteOrders();
      chunk->samples[sample] = static_cast<uint16_t>(ray[b] << kLinkBits | link);  // of any: a lane reads one past its last, too
      if (valid) {
        if (count == kItemSamples) {
          chunk->cells[kWholeItems + whole + __popc(ends & LanesBelow(lane))] = PackItem(key[b], sample, kItemSamples);
        }
        if (same >> lane == 1) chunk->cells[key[b]] = count % kItemSamples << 16 | sample;
      }
      whole += __popc(ends);
      __syncwarp();
    }
  }
  return whole;
}

// Lists the items: whole ones, then what is left in cells, the most samples first, so that the lanes of a warp that take one each
// have as much to do; then by index. Returns how many there are.
__device__ __forceinline__ int ListItems(int lane, int whole, Chunk* chunk) {
  unsigned word[kCellRows];
  int rank[kCellRows];
  int tally = 0;  // lane c < 8: cells with c samples so far
  const unsigned not0 = lane & 1 ? 0u : kAllLanes, not1 = lane & 2 ? 0u : kAllLanes, not2 = lane & 4 ? 0u : kAllLanes;
#pragma unroll
  for (int row = 0; row < kCellRows; ++row) {
    word[row] = chunk->cells[row * kWarp + lane];
    const unsigned c = word[row] >> 16;
    const unsigned bit0 = __ballot_sync(kAllLanes, c & 1), bit1 = __ballot_sync(kAllLanes, c & 2), bit2 = __ballot_sync(kAllLanes, c & 4);
    const unsigned same = (bit0 ^ (c & 1 ? 0u : kAllLanes)) & (bit1 ^ (c & 2 ? 0u : kAllLanes)) & (bit2 ^ (c & 4 ? 0u : kAllLanes));
    rank[row] = __shfl_sync(kAllLanes, tally, c) + __popc(same & LanesBelow(lane));
    tally += __popc((bit0 ^ not0) & (bit1 ^ not1) & (bit2 ^ not2));
  }
  const unsigned items[2] = {chunk->cells[kWholeItems + lane], chunk->cells[kWholeItems + kWarp + lane]};
  // Cells with more samples come before.
  const int own = lane >= 1 && lane < 8 ? tally : 0;
  int from = own;
#pragma unroll
  for (int i = 1; i < 8; i *= 2) from += __shfl_down_sync(kAllLanes, from, i);  // lanes from 8 on hold 0
  const int cells = __shfl_sync(kAllLanes, from, 1);
  const int base = whole + from - own;
  __syncwarp();
#pragma unroll
  for (int row = 0; row < kCellRows; ++row) {
    const unsigned c = word[row] >> 16;
    const int at = __shfl_sync(kAllLanes, base, c) + rank[row];
    if (c != 0) chunk->cells[at] = PackItem(row * kWarp + lane, word[row] & kLinkMask, c);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i * kWarp + lane < whole) chunk->cells[i * kWarp + lane] = items[i];
  }
  __syncwarp();
  return whole + cells;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
