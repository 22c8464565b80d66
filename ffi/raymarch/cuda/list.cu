// Lists of the primitives that the rays of a block of 32 x 32 pixels may meet.
#include "cones.cuh"
#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kListThreads = 512;
constexpr int kListWarps = kListThreads / kWarp;
constexpr int kListBlocks = 2;         // of threads, on a multiprocessor
constexpr int kRegionCapacity = Limit(8192, 96);  // primitives listed for a region; one that meets more looks through all for its blocks
constexpr int kGroupBlocks = 4;        // blocks of a region that a thread block lists
constexpr int kGroups = kRegionBlockCount / kGroupBlocks;
constexpr int kListWords = kListThreads / kGroupBlocks;  // of 32 candidates: looked at for all blocks between two compactions

struct ListShared {
  uint32_t masks[kListThreads];  // of a region's candidates, or of kListWords words for each block
  int offsets[kListThreads];
  int warp_sums[kListWarps];
  Cone cones[kGroupBlocks + 1];  // of the blocks; of the region
  int listed[kRegionCapacity];
};

// Of the bits in the masks of threads first <= i < threadIdx.x, plus `before`; *all gets the sum of those in first <= i < last. By a
// thread block; first and last are multiples of a warp.
__device__ int Offset(int first, int last, int before, ListShared* shared, int* all) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int sum = __popc(shared->masks[threadIdx.x]), inclusive = InclusiveSum(sum, lane);
  if (lane == kWarp - 1) shared->warp_sums[warp] = inclusive;
  __syncthreads();
  *all = 0;
  for (int i = first / kWarp; i < last / kWarp; ++i) {
    if (i == warp) before += *all;
    *all += shared->warp_sums[i];
  }
  return before + inclusive - sum;
}

// Lists the primitives whose spheres the region's rays may meet, in order; returns their number, more than kRegionCapacity if they do
// not fit. By a thread block.
__device__ int ListRegion(const Scratch& scratch, const Cone& cone, int64_t first_primitive, int count, ListShared* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kListThreads * kWarp) {
    const int words = min(kListThreads, (count - chunk + kWarp - 1) / kWarp);
    constexpr int kAtOnce = 8;  // so many loads on the way
    for (int first = warp; first < words; first += kListWarps * kAtOnce) {
      float4 sphere[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        sphere[i] = scratch.spheres[first_primitive + min(chunk + (first + i * kListWarps) * kWarp + lane, count - 1)];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int word = first + i * kListWarps;
        float nearest, farthest;
        const bool touches = chunk + word * kWarp + lane < count && Touches(cone, sphere[i], &nearest, &farthest);
        const unsigned mask = __ballot_sync(kAllLanes, touches);
        if (lane == 0 && word < words) shared->masks[word] = mask;
      }
    }
    if (threadIdx.x >= words) shared->masks[threadIdx.x] = 0;
    __syncthreads();
    int all;
    shared->offsets[threadIdx.x] = Offset(0, kListThreads, total, shared, &all);
    __syncthreads();
    total += all;
    if (total > kRegionCapacity) break;
    for (int word = warp; word < words; word += kListWarps) {
      const unsigned mask = shared->masks[word];
      if (mask >> lane & 1) shared->listed[shared->offsets[word] + __popc(mask & LanesBelow(lane))] = chunk + word * kWarp + lane;
    }
    __syncthreads();
  }
  return total;
}

// Lists for each block of the group those of the candidates 0 <= i < count, listed[i] or, where that is null, i, whose box the block's
// rays may meet, in order. By a thread block; a block's number, more than `capacity` if they do not fit, goes to its kListWords threads.
__device__ int ListBlocks(const Scratch& scratch, int64_t first_block, int64_t first_primitive, const int* listed, int count,
                          int capacity, ListShared* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, own = threadIdx.x / kListWords;
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kListWords * kWarp) {
    const int words = min(kListWords, (count - chunk + kWarp - 1) / kWarp);
    shared->masks[threadIdx.x] = 0;
    __syncthreads();
    for (int word = warp; word < words; word += kListWarps) {
      const int candidate = min(chunk + word * kWarp + lane, count - 1), k = listed == nullptr ? candidate : listed[candidate];
      const float4 sphere = scratch.spheres[first_primitive + k];
      const Pose pose = LoadPose(scratch, first_primitive + k);
#pragma unroll 1
      for (int block = 0; block < kGroupBlocks; ++block) {
        float nearest, farthest;
        const Cone& cone = shared->cones[block];
        const bool touches = chunk + word * kWarp + lane < count && Touches(cone, sphere, &nearest, &farthest) &&
                             TouchesBox(cone, pose, &nearest, &farthest);
        const unsigned mask = __ballot_sync(kAllLanes, touches);
        if (lane == 0) shared->masks[block * kListWords + word] = mask;
      }
    }
    __syncthreads();
    int all;
    const int before = total;
    shared->offsets[threadIdx.x] = Offset(own * kListWords, (own + 1) * kListWords, before, shared, &all);
    total += all;
    __syncthreads();
    for (int i = warp; i < kGroupBlocks * words; i += kListWarps) {
      const int block = i / words, word = i - block * words, at = block * kListWords + word;
      const unsigned mask = shared->masks[at];
      const int to = shared->offsets[at] + __popc(mask & LanesBelow(lane)), candidate = chunk + word * kWarp + lane;
      if ((mask >> lane & 1) && to < capacity) {
        scratch.lists[(first_block + block) * capacity + to] = listed == nullptr ? candidate : listed[candidate];
      }
    }
    __syncthreads();
  }
  return total;
}

// Lists the primitives of some blocks of a region, from a list of the region's own.
__global__ void __launch_bounds__(kListThreads, kListBlocks) ListPrimitives(Shape shape, Scratch scratch, Grid grid, int capacity) {
  __shared__ ListShared shared;
  const int64_t region = blockIdx.x / kGroups, first_block = region * kRegionBlockCount + blockIdx.x % kGroups * kGroupBlocks;
  const int64_t first_primitive = region / grid.regions * shape.primitives;
  if (threadIdx.x < kWarp) {
    Cone own = NoCone();
    if (threadIdx.x < kRegionBlockCount) own = LoadCone(scratch.blocks, region * kRegionBlockCount + threadIdx.x);
    const Cone merged = MergeCone(own);
    if (threadIdx.x == 0) shared.cones[kGroupBlocks] = merged;
    const int in_group = static_cast<int>(threadIdx.x) - static_cast<int>(first_block % kRegionBlockCount);
    if (in_group >= 0 && in_group < kGroupBlocks) shared.cones[in_group] = own;
  }
  __syncthreads();
  const Cone cone = shared.cones[kGroupBlocks];
  const int count = static_cast<int>(shape.primitives);
  int listed = 0;
  if (cone.radius >= 0.0f) {
    const int total = ListRegion(scratch, cone, first_primitive, count, &shared);
    const bool all = total > kRegionCapacity;
    __syncthreads();
    listed = ListBlocks(scratch, first_block, first_primitive, all ? nullptr : shared.listed, all ? count : total, capacity, &shared);
  }
  if (threadIdx.x % kListWords == 0) {
    scratch.list_counts[first_block + threadIdx.x / kListWords] = listed > capacity ? -1 : listed;
  }
}

}  // namespace

void List(const Shape& shape, const Scratch& scratch, int capacity, cudaStream_t stream) {
  const Grid grid = MakeGrid(shape);
  const unsigned blocks = static_cast<unsigned>(shape.frames * grid.regions * kGroups);
  LaunchKernel(ListPrimitives, blocks, kListThreads, 0, stream, shape, scratch, grid, capacity);
}

}  // namespace raymarch
}  // namespace ava
