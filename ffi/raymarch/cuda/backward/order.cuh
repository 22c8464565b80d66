// What the gradients of primitives need first: the cones of regions, and the primitives of each frame in an order in which those that
// probably take longest come first, since the end of the launch waits for the one that ends last.
#pragma once

#include "../culling/cones.cuh"
#include "backward.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kOrderThreads = 1024;
constexpr int kSizes = kWarp;  // powers of two of a box's volume

// 0 for a box as large as the volume, 1 for half of it.
__device__ __forceinline__ int Size(const Scene& scene, int64_t at) {
  const float* scale = scene.scale + 3 * at;
  const int exponent = static_cast<int>(__float_as_uint(fabsf(scale[0] * scale[1] * scale[2])) >> 23) - 127;
  return min(max(exponent, 0), kSizes - 1);
}

// By a thread block: the frame's primitives by size, those of a size roughly by index. Which of them come first does not matter to any
// result.
__device__ void OrderFrame(const Scene& scene, const Scratch& scratch, int64_t frame) {
  __shared__ int next[kSizes];
  const int lane = threadIdx.x % kWarp, primitives = static_cast<int>(scene.shape.primitives);
  const int64_t first = frame * primitives;
  if (threadIdx.x < kSizes) next[threadIdx.x] = 0;
  __syncthreads();
#pragma unroll 4
  for (int base = 0; base < primitives; base += kOrderThreads) {
    const int i = base + threadIdx.x, size = i < primitives ? Size(scene, first + i) : kSizes;
    const unsigned same = __match_any_sync(kAllLanes, size);
    if (size < kSizes && FirstLane(same) == lane) atomicAdd(next + size, __popc(same));
  }
  __syncthreads();
  if (threadIdx.x < kSizes) {
    const int count = next[lane];
    next[lane] = InclusiveSum(count, lane) - count;
  }
  __syncthreads();
#pragma unroll 4
  for (int base = 0; base < primitives; base += kOrderThreads) {
    const int i = base + threadIdx.x, size = i < primitives ? Size(scene, first + i) : kSizes;
    const unsigned same = __match_any_sync(kAllLanes, size);
    int at = 0;
    if (size < kSizes && FirstLane(same) == lane) at = atomicAdd(next + size, __popc(same));
    at = __shfl_sync(kAllLanes, at, FirstLane(same)) + __popc(same & LanesBelow(lane));
    if (size < kSizes) scratch.primitive_order[first + at] = i;
  }
}

__device__ void BoundRegion(const Scratch& scratch, int64_t region, int lane) {
  Cone own = NoCone();
  if (lane < kRegionBlockCount) own = LoadCone(scratch.blocks, region * kRegionBlockCount + lane);
  const Cone merged = MergeCone(own);
  if (lane == 0) StoreCone(scratch.regions, region, merged);
}

// A thread block orders a frame; the others' warps take a region each.
__global__ void __launch_bounds__(kOrderThreads, 1) BoundRegionsAndOrder(Scene scene, Scratch scratch, int64_t regions) {
  const int64_t block = blockIdx.x, frames = scene.shape.frames;
  if (block < frames) {
    OrderFrame(scene, scratch, block);
  } else {
    const int64_t region = (block - frames) * (kOrderThreads / kWarp) + threadIdx.x / kWarp;
    if (region < regions) BoundRegion(scratch, region, threadIdx.x % kWarp);
  }
}

void OrderPrimitives(const Scene& scene, const Scratch& scratch, const Grid& grid, cudaStream_t stream) {
  const int64_t regions = scene.shape.frames * grid.regions;
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames + DivideUp(regions, kOrderThreads / kWarp));
  LaunchKernel(BoundRegionsAndOrder, blocks, kOrderThreads, 0, stream, scene, scratch, regions);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
