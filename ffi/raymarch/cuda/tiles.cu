// Lists of the primitives that the rays of a tile may meet, and the tiles in an order to march them.
#include "candidates.cuh"
#include "cones.cuh"
#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kTileWarps = 8;    // of a thread block, a tile each
constexpr int kTileBlocks = 3;   // of threads, on a multiprocessor
constexpr int kTileStaged = Limit(256, 32);  // entries kept until there is room for them; a tile that has more tests all once more
constexpr int kLengthPerBin = Limit(32, 8);  // of candidates in steps, which goes with the samples of a tile
constexpr int kLongest = 1024;               // that a candidate counts for
static_assert(kTileWarps % kChunkTiles == 0 && kBlockTileCount % kTileWarps == 0);

struct TileShared {
  TileEntry staged[kTileStaged];
  int queue[2 * kWarp];  // candidates whose spheres touch, to test 32 boxes at once
};

// Of a tile's rays. By a warp.
__device__ Spread SpreadOf(const Scene& scene, const Cone& cone, int64_t pixel) {
  const bool mine = pixel >= 0;
  const float* d = scene.direction + 3 * max(pixel, int64_t{0});
  const float3 unit = Normalised(mine ? make_float3(d[0], d[1], d[2]) : cone.axis);
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

struct Tested {
  int count;   // of candidates
  int first;   // step with samples
  int length;  // of the lane's candidates together, in steps
};

// Tests the source's candidates in order and writes those that the tile's rays may meet, the first `room`. By a warp.
__device__ Tested TestCandidates(const Scratch& scratch, const Source& source, const Spread& rays, int lane, int* queue, TileEntry* to,
                                 int room) {
  const Cone cone = LoadCone(scratch.tiles, source.cone);
  int kept = 0, waiting = 0, least = kMaxSteps, length = 0;
  for (int i = 0; i < source.count; i += kWarp) {
    const int k = Listed(source, min(i + lane, source.count - 1));
    float nearest, farthest;
    const bool near = i + lane < source.count && Touches(cone, scratch.spheres[source.first_primitive + k], &nearest, &farthest);
    const unsigned nears = __ballot_sync(kAllLanes, near);
    if (near) queue[waiting + __popc(nears & LanesBelow(lane))] = k;
    waiting += __popc(nears);
    __syncwarp();
    while (waiting >= kWarp || (waiting > 0 && i + kWarp >= source.count)) {
      Candidate candidate = {0, 0, 0};
      if (lane < waiting) candidate = TestCandidate(scratch, source, cone, rays, queue[lane]);
      const int later = queue[lane + kWarp];
      __syncwarp();
      queue[lane] = later;
      __syncwarp();
      waiting = max(waiting - kWarp, 0);
      const bool touches = candidate.first < candidate.last;
      const unsigned mask = __ballot_sync(kAllLanes, touches);
      const int at = kept + __popc(mask & LanesBelow(lane));
      kept += __popc(mask);
      if (!touches) continue;
      least = min(least, candidate.first);
      length += min(candidate.last - candidate.first, kLongest);
      if (at >= room) continue;
      to[at] = {candidate.primitive, make_ushort2(static_cast<unsigned short>(min(candidate.first, kFarStep - 1)),
                                                  static_cast<unsigned short>(min(candidate.last, kFarStep)))};
    }
  }
  __syncwarp();
  return {kept, WarpLeast(least), length};
}

// Room for `count` entries; null if there is none.
__device__ __forceinline__ TileEntry* TakeEntries(const Scratch& scratch, int entries, int count, int lane) {
  int start = 0;
  if (lane == 0) {
    // Looked at first: what is asked for and not given stays counted, and must not go past 32 bits.
    start = __ldcg(&scratch.counters->entries);
    if (start <= entries - count) start = atomicAdd(&scratch.counters->entries, count);
  }
  start = __shfl_sync(kAllLanes, start, 0);
  return start <= entries - count ? scratch.entries + start : nullptr;
}

// Lists a tile's candidates: its span.
__device__ int4 ListCandidates(const Scene& scene, const Scratch& scratch, const Source& source, int64_t pixel, int entries, int lane,
                               TileShared* shared) {
  int4 span = make_int4(0, 0, kMaxSteps, 0);
  if (source.count == 0) return span;
  const Spread rays = SpreadOf(scene, LoadCone(scratch.tiles, source.cone), pixel);
  const Tested tested = TestCandidates(scratch, source, rays, lane, shared->queue, shared->staged, kTileStaged);
  if (tested.count == 0) return span;
  span = make_int4(0, tested.count, tested.first, __shfl_sync(kAllLanes, InclusiveSum(tested.length, lane), kWarp - 1));
  TileEntry* to = TakeEntries(scratch, entries, span.y, lane);
  if (to == nullptr) {
    span.y = -1, span.z = 0;
    return span;
  }
  span.x = static_cast<int>(to - scratch.entries);
  if (span.y > kTileStaged) {
    TestCandidates(scratch, source, rays, lane, shared->queue, to, span.y);
  } else {
    for (int i = lane; i < span.y; i += kWarp) to[i] = shared->staged[i];
  }
  return span;
}

__global__ void __launch_bounds__(kTileWarps* kWarp, kTileBlocks)
    ListTile(Scene scene, Image image, Scratch scratch, Grid grid, int capacity, int entries, int64_t chunks) {
  __shared__ TileShared shared[kTileWarps];
  __shared__ int lengths[kTileWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kTileWarps + warp;
  const int64_t frame = static_cast<unsigned>(tile / kBlockTileCount) / static_cast<unsigned>(grid.blocks);
  const int64_t pixel = PixelIndex(scene.shape, grid, frame, static_cast<unsigned>(tile - frame * grid.tiles), lane);
  const Source source = BlockSource(scratch, scene.shape, frame, tile, capacity);
  const int4 span = ListCandidates(scene, scratch, source, pixel, entries, lane, &shared[warp]);
  if (lane == 0) {
    scratch.spans[tile] = span;
    lengths[warp] = span.w;
  }
  if (span.y == 0 && pixel >= 0) {
    reinterpret_cast<float4*>(image.rgba)[pixel] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    WriteUnsaturated(image, pixel);
  }
  __syncthreads();
  if (threadIdx.x % kChunkTiles != 0 || threadIdx.x >= kTileWarps) return;
  int most = 0;
  for (int i = 0; i < kChunkTiles; ++i) most = max(most, lengths[threadIdx.x + i]);
  if (most == 0) return;
  const int bin = max(kBins - 1 - most / kLengthPerBin, 0), at = atomicAdd(&scratch.counters->bins[bin], 1);
  scratch.bins[bin * chunks + at] = static_cast<int32_t>((static_cast<int64_t>(blockIdx.x) * kTileWarps + threadIdx.x) / kChunkTiles);
}

}  // namespace

void ListTiles(const Scene& scene, const Image& image, const Scratch& scratch, int capacity, cudaStream_t stream) {
  const Shape& s = scene.shape;
  const Grid grid = MakeGrid(s);
  const unsigned blocks = static_cast<unsigned>(s.frames * grid.tiles / kTileWarps);
  LaunchKernel(ListTile, blocks, kTileWarps * kWarp, 0, stream, scene, image, scratch, grid, capacity,
               static_cast<int>(EntryCapacity(s)), s.frames * grid.tiles / kChunkTiles);
}

}  // namespace raymarch
}  // namespace ava
