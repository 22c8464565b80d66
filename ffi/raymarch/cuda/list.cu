// Lists of the primitives that the rays of a block of 32 x 32 pixels may meet.
#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kListThreads = 512;
constexpr int kListWarps = kListThreads / kWarp;
constexpr int kChunkWords = 1024;  // of 32 primitives: looked at between two compactions

// Lists the primitives that a block's rays may meet, in order of index.
__global__ void __launch_bounds__(kListThreads) ListPrimitives(Shape shape, Scratch scratch, Grid grid, int capacity) {
  __shared__ uint32_t masks[kChunkWords];
  __shared__ int offsets[kChunkWords];
  __shared__ int warp_sums[kListWarps];
  const int64_t block = blockIdx.x, frame = block / grid.blocks;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Cone cone = LoadCone(scratch.blocks, block);
  if (cone.radius < 0.0f) {
    if (threadIdx.x == 0) scratch.list_counts[block] = 0;
    return;
  }
  const float4* spheres = scratch.spheres + frame * shape.primitives;
  const int count = static_cast<int>(shape.primitives);
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kChunkWords * kWarp) {
    const int words = min(kChunkWords, (count - chunk + kWarp - 1) / kWarp);
    constexpr int kAtOnce = 4;  // so many loads on the way
    for (int first = warp; first < words; first += kListWarps * kAtOnce) {
      float4 sphere[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) sphere[i] = spheres[min(chunk + (first + i * kListWarps) * kWarp + lane, count - 1)];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int word = first + i * kListWarps, k = chunk + word * kWarp + lane;
        float nearest, farthest;
        const bool touches = k < count && Touches(cone, sphere[i], &nearest, &farthest) &&
                             TouchesBox(cone, LoadPose(scratch, frame * count + k), &nearest, &farthest);
        const unsigned mask = __ballot_sync(kAllLanes, touches);
        if (lane == 0 && word < words) masks[word] = mask;
      }
    }
    __syncthreads();
    // Exclusive sums of the words' counts: four words a thread.
    constexpr int kPer = kChunkWords / kListThreads;
    int sums[kPer], sum = 0;
    for (int i = 0; i < kPer; ++i) {
      const int word = threadIdx.x * kPer + i;
      sums[i] = sum;
      sum += word < words ? __popc(masks[word]) : 0;
    }
    const int inclusive = InclusiveSum(sum, lane);
    if (lane == kWarp - 1) warp_sums[warp] = inclusive;
    __syncthreads();
    int before = total + inclusive - sum, all = 0;
    for (int i = 0; i < kListWarps; ++i) {
      if (i < warp) before += warp_sums[i];
      all += warp_sums[i];
    }
    for (int i = 0; i < kPer; ++i) offsets[threadIdx.x * kPer + i] = before + sums[i];
    __syncthreads();
    total += all;
    if (total > capacity) break;
    int32_t* list = scratch.lists + block * capacity;
    for (int word = warp; word < words; word += kListWarps) {
      const unsigned mask = masks[word];
      if (mask >> lane & 1) list[offsets[word] + __popc(mask & LanesBelow(lane))] = chunk + word * kWarp + lane;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) scratch.list_counts[block] = total > capacity ? -1 : total;
}

}  // namespace

void List(const Shape& shape, const Scratch& scratch, int capacity, cudaStream_t stream) {
  const Grid grid = MakeGrid(shape);
  ListPrimitives<<<static_cast<unsigned>(shape.frames * grid.blocks), kListThreads, 0, stream>>>(shape, scratch, grid, capacity);
}

}  // namespace raymarch
}  // namespace ava
