// Lists of the primitives that the rays of a block of 32 x 32 pixels may meet.
#include "../common/device.cuh"
#include "cones.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kListThreads = 512;
constexpr int kListWarps = kListThreads / kWarp;
constexpr int kListBlocks = 2;         // of threads, on a multiprocessor
constexpr int kGroupCapacity = Limit(8192, 96);  // primitives listed for a group; one that meets more looks through all for its blocks
constexpr int kGroupSide = 2, kGroupBlocks = kGroupSide * kGroupSide;  // blocks of a region that a thread block lists
constexpr int kGroups = kRegionBlockCount / kGroupBlocks;
// Up to so many blocks of pixels are ordered by their longest tiles, which takes a quarter of this launch. With more of them the march
// goes on so long that its end matters less, and the number of primitives listed does.
constexpr int64_t kCloselyOrdered = Limit(8192, 20);
constexpr int kListWords = kListThreads / kGroupBlocks;  // of 32 candidates: looked at for all blocks between two compactions

struct ListShared {
  uint32_t masks[kListThreads];  // of a group's candidates, or of kListWords words for each block
  int offsets[kListThreads];
  int warp_sums[kListWarps];
  int clusters[kListThreads];  // of the chunk, that the group may meet
  int cluster_count;
  Cone cones[kGroupBlocks + 1];  // of the blocks; of the group
  int listed[kGroupCapacity];
};

// The blocks of a group lie side by side in their region: where in it.
__device__ __forceinline__ int BlockInRegion(int group, int block) {
  constexpr int kAcross = kRegionBlocks / kGroupSide;
  const int row = group / kAcross * kGroupSide + block / kGroupSide, column = group % kAcross * kGroupSide + block % kGroupSide;
  return row * kRegionBlocks + column;
}

// Whether rays of the cone may meet the sphere, as Touches says, or nearly.
__device__ __forceinline__ bool MayTouch(const Cone& cone, float4 sphere) {
  const float x = sphere.x - cone.apex.x, y = sphere.y - cone.apex.y, z = sphere.z - cone.apex.z;
  const float along = x * cone.axis.x + y * cone.axis.y + z * cone.axis.z;
  const float across = SquareRoot(fmaxf(x * x + y * y + z * z - along * along, 0.0f));
  // The difference of squares is off by the rounding of the larger one.
  const float reach = (sphere.w + cone.radius) + (fabsf(along) + across) * 1e-3f;
  return across * cone.cosine - along * cone.sine <= reach && along >= -reach;
}

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

// Notes the clusters, of 0 <= i < number up to a thread each, that the cone's rays may meet, in any order; returns how many. By a thread
// block.
__device__ int ListClusters(const Cone& cone, const float4* clusters, int number, ListShared* shared) {
  const int lane = threadIdx.x % kWarp, i = threadIdx.x;
  if (i == 0) shared->cluster_count = 0;
  const bool may = i < number && MayTouch(cone, clusters[i]);
  const unsigned mays = __ballot_sync(kAllLanes, may);
  __syncthreads();
  int at = 0;
  if (lane == 0 && mays != 0) at = atomicAdd(&shared->cluster_count, __popc(mays));
  at = __shfl_sync(kAllLanes, at, 0) + __popc(mays & LanesBelow(lane));
  if (may) shared->clusters[at] = i;
  __syncthreads();
  return shared->cluster_count;
}

// Lists the primitives whose spheres the group's rays may meet, in order; returns their number, more than kGroupCapacity if they do
// not fit. `clusters` are the frame's. By a thread block.
__device__ int ListGroup(const Scratch& scratch, const Cone& cone, int64_t first_primitive, int count, const float4* clusters,
                         ListShared* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kListThreads * kWarp) {
    const int words = min(kListThreads, (count - chunk + kWarp - 1) / kWarp);
    shared->masks[threadIdx.x] = 0;
    const int met = ListClusters(cone, clusters + chunk / kWarp, words, shared);
    constexpr int kAtOnce = 8;  // so many loads on the way
    for (int first = warp; first < met; first += kListWarps * kAtOnce) {
      float4 sphere[kAtOnce];
      int word[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        word[i] = shared->clusters[min(first + i * kListWarps, met - 1)];
        sphere[i] = scratch.spheres[first_primitive + min(chunk + word[i] * kWarp + lane, count - 1)];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + i * kListWarps >= met) break;
        const bool touches = chunk + word[i] * kWarp + lane < count && MayTouch(cone, sphere[i]);
        const unsigned mask = __ballot_sync(kAllLanes, touches);
        if (lane == 0) shared->masks[word[i]] = mask;
      }
    }
    __syncthreads();
    int all;
    shared->offsets[threadIdx.x] = Offset(0, kListThreads, total, shared, &all);
    __syncthreads();
    total += all;
    if (total > kGroupCapacity) break;
    for (int i = warp; i < met; i += kListWarps) {
      const int word = shared->clusters[i];
      const unsigned mask = shared->masks[word];
      if (mask >> lane & 1) shared->listed[shared->offsets[word] + __popc(mask & LanesBelow(lane))] = chunk + word * kWarp + lane;
    }
    __syncthreads();
  }
  return total;
}

// Lists for each block of the group those of the candidates 0 <= i < count, listed[i] or, where that is null, i, whose box the block's
// rays may meet, in order. `first_block` is the region's. By a thread block; a block's number, more than `capacity` if they do not fit,
// goes to its kListWords threads.
__device__ int ListBlocks(const Scratch& scratch, int64_t first_block, int group, int64_t first_primitive, const int* listed, int count,
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
        scratch.lists[(first_block + BlockInRegion(group, block)) * capacity + to] = listed == nullptr ? candidate : listed[candidate];
      }
    }
    __syncthreads();
  }
  return total;
}

// For each block of the group, about how many steps its longest tile has in primitives: how deep the ray in a tile's middle is in the spheres
// of those listed. Of every third, which does as well. By a thread block; each of the block's kListWords threads gets it.
__device__ float LongestTile(const Scene& scene, const Scratch& scratch, const Grid& grid, int64_t block, int64_t first_primitive, int listed,
                             int capacity, ListShared* shared) {
  constexpr int kBlockWarps = kListWarps / kGroupBlocks, kStride = 3;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, own = warp / kBlockWarps;
  const int64_t frame = block / grid.blocks;
  const unsigned tile = static_cast<unsigned>((block - frame * grid.blocks) * kBlockTileCount) + lane;
  int64_t pixel = PixelIndex(scene.shape, grid, frame, tile, kWarp / 2 + kTileWidth / 2);
  if (pixel < 0) pixel = PixelIndex(scene.shape, grid, frame, tile, 0);
  const float *o = scene.origin + 3 * max(pixel, int64_t{0}), *d = scene.direction + 3 * max(pixel, int64_t{0});
  const float3 origin = make_float3(o[0], o[1], o[2]), axis = Normalised(make_float3(d[0], d[1], d[2]));
  const float sine = 0.1f * shared->cones[own].sine;  // a tile is a fifth of a block
  const int looked = (min(listed, capacity) + kStride - 1) / kStride, each = (looked + kBlockWarps - 1) / kBlockWarps;
  const int begin = warp % kBlockWarps * each, end = min(begin + each, looked);
  float depth = 0.0f;
  for (int i = begin; i < end; i += kWarp) {
    const int at = min(i + lane, end - 1) * kStride;
    const float4 sphere = scratch.spheres[first_primitive + scratch.lists[block * capacity + at]];
    const int number = min(end - i, kWarp);
    for (int j = 0; j < number; ++j) {
      const float x = __shfl_sync(kAllLanes, sphere.x, j) - origin.x, y = __shfl_sync(kAllLanes, sphere.y, j) - origin.y,
                  z = __shfl_sync(kAllLanes, sphere.z, j) - origin.z, radius = __shfl_sync(kAllLanes, sphere.w, j);
      const float along = x * axis.x + y * axis.y + z * axis.z;
      const float across = SquareRoot(fmaxf(x * x + y * y + z * z - along * along, 0.0f));
      depth += fmaxf(radius + along * sine - across, 0.0f);  // nothing where it is not a number
    }
  }
  float* depths = reinterpret_cast<float*>(shared->masks);
  __syncthreads();
  depths[threadIdx.x] = pixel >= 0 ? depth : 0.0f;
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < kBlockWarps; ++i) sum += depths[(own * kBlockWarps + i) * kWarp + lane];
  return WarpMaxPositive(sum) / scene.step_size;
}

// Orders the blocks by their longest tiles, the longest first: the last to be marched are then short. By a thread block.
__device__ void OrderBlocks(const Scratch& scratch, int blocks, ListShared* shared) {
  constexpr int kBuckets = kListThreads;
  const auto bucket = [&](int block) {
    const int listed = __ldcg(scratch.list_counts + block);
    if (listed <= 0) return listed < 0 ? 0 : kBuckets - 1;
    // A 32nd of a power of two each, from 1/8 step on.
    const int bits = __float_as_int(__ldcg(scratch.lengths + block)) >> 18;
    return min(max(kBuckets - 2 - (bits - ((127 - 3) << 5)), 0), kBuckets - 2);
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
  if (threadIdx.x == kBuckets - 1) scratch.marched[0] = before;
  __syncthreads();
  for (int i = threadIdx.x; i < blocks; i += kListThreads) scratch.order[atomicAdd(&shared->offsets[bucket(i)], 1)] = i;
}

// Lists the primitives of a group of blocks, from a list of the group's own.
__global__ void __launch_bounds__(kListThreads, kListBlocks) ListPrimitives(Scene scene, Scratch scratch, Grid grid, int capacity) {
  __shared__ ListShared shared;
  const int64_t region = blockIdx.x / kGroups, first_block = region * kRegionBlockCount;
  const int group = blockIdx.x % kGroups;
  const int64_t first_primitive = region / grid.regions * scene.shape.primitives;
  if (threadIdx.x < kWarp) {
    const int lane = threadIdx.x;
    Cone own = NoCone();
    if (lane < kGroupBlocks) {
      own = LoadCone(scratch.blocks, first_block + BlockInRegion(group, lane));
      shared.cones[lane] = own;
    }
    const Cone merged = MergeCone(own);
    if (lane == 0) shared.cones[kGroupBlocks] = merged;
  }
  __syncthreads();
  const Cone cone = shared.cones[kGroupBlocks];
  const int count = static_cast<int>(scene.shape.primitives);
  const int64_t block = first_block + BlockInRegion(group, threadIdx.x / kListWords);
  int listed = 0;
  float longest = 0.0f;
  if (cone.radius >= 0.0f) {
    const float4* clusters = scratch.clusters + region / grid.regions * ((count + kWarp - 1) / kWarp);
    const int total = ListGroup(scratch, cone, first_primitive, count, clusters, &shared);
    const bool all = total > kGroupCapacity;
    __syncthreads();
    listed = ListBlocks(scratch, first_block, group, first_primitive, all ? nullptr : shared.listed, all ? count : total, capacity, &shared);
    longest = static_cast<float>(listed);
    if (scene.shape.frames * grid.blocks <= kCloselyOrdered) {
      longest = LongestTile(scene, scratch, grid, block, first_primitive, listed, capacity, &shared);
    }
  }
  if (threadIdx.x % kListWords == 0) {
    scratch.list_counts[block] = listed > capacity ? -1 : listed;
    scratch.lengths[block] = longest;
  }
  __syncthreads();
  __shared__ bool last;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(scratch.listed, 1) == static_cast<int>(gridDim.x) - 1;
  }
  __syncthreads();
  if (last) OrderBlocks(scratch, static_cast<int>(scene.shape.frames * grid.blocks), &shared);
}

}  // namespace

void List(const Scene& scene, const Scratch& scratch, int capacity, cudaStream_t stream) {
  const Grid grid = MakeGrid(scene.shape);
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames * grid.regions * kGroups);
  LaunchKernel(ListPrimitives, blocks, kListThreads, 0, stream, scene, scratch, grid, capacity);
}

}  // namespace raymarch
}  // namespace ava
