// Lists of the primitives that the rays of a block of 32 x 32 pixels may meet.
#include "cones.cuh"
#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kListThreads = 512;
constexpr int kListWarps = kListThreads / kWarp;
constexpr int kChunkWords = 512;       // of 32 candidates: looked at between two compactions
constexpr int kRegionCapacity = 4096;  // primitives listed for a region; one that meets more looks through all for each block
constexpr int kBlocksPerGroup = 4;     // blocks of a region that a thread block lists
constexpr int kGroups = kRegionBlockCount / kBlocksPerGroup;

struct ListShared {
  uint32_t masks[kChunkWords];
  int offsets[kChunkWords];
  int warp_sums[kListWarps];
  Cone region;
  int listed[kRegionCapacity];
};

// Writes those of the candidates 0 <= i < count, listed[i] or, where that is null, i, whose box the cone's rays may meet, in order;
// by a thread block. Returns their number, more than `capacity` if they do not fit.
__device__ int Narrow(const Scratch& scratch, const Cone& cone, int64_t first_primitive, const int* listed, int count, int capacity,
                      int* out, ListShared* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kChunkWords * kWarp) {
    const int words = min(kChunkWords, (count - chunk + kWarp - 1) / kWarp);
    constexpr int kAtOnce = 4;  // so many loads on the way
    for (int first = warp; first < words; first += kListWarps * kAtOnce) {
      int primitive[kAtOnce];
      float4 sphere[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int candidate = min(chunk + (first + i * kListWarps) * kWarp + lane, count - 1);
        primitive[i] = listed == nullptr ? candidate : listed[candidate];
        sphere[i] = scratch.spheres[first_primitive + primitive[i]];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int word = first + i * kListWarps;
        float nearest, farthest;
        const bool touches = chunk + word * kWarp + lane < count && Touches(cone, sphere[i], &nearest, &farthest) &&
                             TouchesBox(cone, LoadPose(scratch, first_primitive + primitive[i]), &nearest, &farthest);
        const unsigned mask = __ballot_sync(kAllLanes, touches);
        if (lane == 0 && word < words) shared->masks[word] = mask;
      }
    }
    __syncthreads();
    // Exclusive sums of the words' counts, a word a thread.
    const int sum = threadIdx.x < words ? __popc(shared->masks[threadIdx.x]) : 0;
    const int inclusive = InclusiveSum(sum, lane);
    if (lane == kWarp - 1) shared->warp_sums[warp] = inclusive;
    __syncthreads();
    int before = total + inclusive - sum, all = 0;
    for (int i = 0; i < kListWarps; ++i) {
      if (i < warp) before += shared->warp_sums[i];
      all += shared->warp_sums[i];
    }
    shared->offsets[threadIdx.x] = before;
    __syncthreads();
    total += all;
    if (total > capacity) break;
    for (int word = warp; word < words; word += kListWarps) {
      const unsigned mask = shared->masks[word];
      if (mask >> lane & 1) {
        const int candidate = chunk + word * kWarp + lane;
        out[shared->offsets[word] + __popc(mask & LanesBelow(lane))] = listed == nullptr ? candidate : listed[candidate];
      }
    }
    __syncthreads();
  }
  return total;
}

// Orders the blocks by the number of primitives listed, most first: the last to be marched are then short. By a thread block.
__device__ void OrderBlocks(const Scratch& scratch, int blocks, ListShared* shared) {
  constexpr int kBuckets = kChunkWords;
  const auto bucket = [&](int block) {
    const int listed = __ldcg(scratch.list_counts + block);
    return listed < 0 ? 0 : max(kBuckets - 1 - (listed + 3) / 4, 0);
  };
  shared->offsets[threadIdx.x] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < blocks; i += kListThreads) atomicAdd(&shared->offsets[bucket(i)], 1);
  __syncthreads();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int own = shared->offsets[threadIdx.x], inclusive = InclusiveSum(own, lane);
  if (lane == kWarp - 1) shared->warp_sums[warp] = inclusive;
  __syncthreads();
  int before = inclusive - own;
  for (int i = 0; i < warp; ++i) before += shared->warp_sums[i];
  shared->offsets[threadIdx.x] = before;
  __syncthreads();
  for (int i = threadIdx.x; i < blocks; i += kListThreads) scratch.order[atomicAdd(&shared->offsets[bucket(i)], 1)] = i;
}

// Lists the primitives of some blocks of a region, from a list of the region's own.
__global__ void __launch_bounds__(kListThreads) ListPrimitives(Shape shape, Scratch scratch, Grid grid, int capacity) {
  static_assert(kChunkWords == kListThreads, "a word a thread");
  __shared__ ListShared shared;
  const int64_t region = blockIdx.x / kGroups, first_block = region * kRegionBlockCount + blockIdx.x % kGroups * kBlocksPerGroup;
  const int64_t first_primitive = region / grid.regions * shape.primitives;
  if (threadIdx.x < kWarp) {
    Cone own = NoCone();
    if (threadIdx.x < kRegionBlockCount) own = LoadCone(scratch.blocks, region * kRegionBlockCount + threadIdx.x);
    const Cone merged = MergeCone(own);
    if (threadIdx.x == 0) shared.region = merged;
  }
  __syncthreads();
  const Cone cone = shared.region;
  const int count = static_cast<int>(shape.primitives);
  int total = 0;
  if (cone.radius >= 0.0f) total = Narrow(scratch, cone, first_primitive, nullptr, count, kRegionCapacity, shared.listed, &shared);
  for (int64_t block = first_block; block < first_block + kBlocksPerGroup; ++block) {
    const Cone narrow = LoadCone(scratch.blocks, block);
    int listed = 0;
    if (narrow.radius >= 0.0f) {
      const bool all = total > kRegionCapacity;
      __syncthreads();
      listed = Narrow(scratch, narrow, first_primitive, all ? nullptr : shared.listed, all ? count : total, capacity,
                      scratch.lists + block * capacity, &shared);
    }
    if (threadIdx.x == 0) scratch.list_counts[block] = listed > capacity ? -1 : listed;
  }
  __shared__ bool last;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(scratch.listed, 1) == static_cast<int>(gridDim.x) - 1;
  }
  __syncthreads();
  if (last) OrderBlocks(scratch, static_cast<int>(shape.frames * grid.blocks), &shared);
}

}  // namespace

void List(const Shape& shape, const Scratch& scratch, int capacity, cudaStream_t stream) {
  const Grid grid = MakeGrid(shape);
  ListPrimitives<<<static_cast<unsigned>(shape.frames * grid.regions * kGroups), kListThreads, 0, stream>>>(shape, scratch, grid,
                                                                                                            capacity);
}

}  // namespace raymarch
}  // namespace ava
