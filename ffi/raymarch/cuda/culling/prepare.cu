// Poses and bounding spheres of primitives, and the cones around the rays of tiles and blocks.
#include "../common/device.cuh"
#include "cones.cuh"

#include "../../bounding.h"

namespace ava {
namespace raymarch {
namespace {

constexpr int kThreads = 256;  // take a block of pixels
constexpr int kWarps = kThreads / kWarp;
// Thread blocks on a multiprocessor: they wait for memory and for sums across lanes.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kPrepareBlocks = 4;  // no more fit
#else
constexpr int kPrepareBlocks = 6;
#endif
constexpr int kBoundBlocks = 4;  // the same, where a thread has four rays on their way

// Returns the primitive's sphere.
__device__ float4 PreparePose(const Scene& scene, const Scratch& scratch, int64_t at) {
  const Pose pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
  const float radius = Finite(pose.position) ? BoundingRadius(pose) : NAN;
  const float4 sphere = make_float4(pose.position[0], pose.position[1], pose.position[2], radius);
  scratch.spheres[at] = sphere;
  for (int i = 0; i < 3; ++i) {
    scratch.matrices[3 * at + i] = make_float4(pose.matrix[3 * i], pose.matrix[3 * i + 1], pose.matrix[3 * i + 2], 0.0f);
  }
  return sphere;
}

// A sphere around the lanes' spheres, but for those that hold no point.
__device__ float4 MergeSpheres(const float4& own) {
  const bool mine = own.w >= 0.0f;
  const float number = static_cast<float>(__popc(__ballot_sync(kAllLanes, mine)));
  if (number == 0.0f) return make_float4(0.0f, 0.0f, 0.0f, NAN);
  const float x = WarpSum(mine ? own.x : 0.0f) / number, y = WarpSum(mine ? own.y : 0.0f) / number, z = WarpSum(mine ? own.z : 0.0f) / number;
  const float reach = sqrtf(SquaredDistance(make_float3(own.x, own.y, own.z), make_float3(x, y, z))) + own.w, far = fmaxf(fmaxf(fabsf(x), fabsf(y)), fabsf(z));
  // Sums beyond float32 have no centre.
  if (!isfinite(far) || __any_sync(kAllLanes, mine && !isfinite(reach))) return make_float4(0.0f, 0.0f, 0.0f, INFINITY);
  return make_float4(x, y, z, WarpMaxPositive(mine ? reach : 0.0f) * 1.00001f + far * 1e-6f);
}

// By a warp: poses of 32 primitives of a frame. `nth` of all such, frame by frame.
template <bool kCluster>
__device__ void PreparePoses(const Scene& scene, const Scratch& scratch, int64_t nth, int lane) {
  const int64_t primitives = scene.shape.primitives, each = DivideUp(primitives, kWarp), frame = nth / each;
  const int64_t k = (nth - frame * each) * kWarp + lane;
  if (frame >= scene.shape.frames) return;
  float4 sphere = make_float4(0.0f, 0.0f, 0.0f, NAN);
  if (k < primitives) sphere = PreparePose(scene, scratch, frame * primitives + k);
  if constexpr (kCluster) {
    const float4 around = MergeSpheres(sphere);
    if (lane == 0) scratch.clusters[nth] = around;
  }
}

// Stores a ray for the backward pass; returns the steps that count.
__device__ float PackRay(const Scratch& scratch, const Cotangent& cotangent, int64_t at, int64_t pixel, const MarchRay& ray) {
  float end = ray.count;
  float4 g = make_float4(0.0f, 0.0f, 0.0f, 0.0f), colour = g;
  int2 saturation = make_int2(kNever, kNever);
  if (end > 0.0f) {
    g = reinterpret_cast<const float4*>(cotangent.rgba)[pixel];
    colour = reinterpret_cast<const float4*>(cotangent.saturation)[pixel];
    saturation = reinterpret_cast<const int2*>(cotangent.saturation_at)[pixel];
    const bool silent = g.x == 0.0f && g.y == 0.0f && g.z == 0.0f && g.w == 0.0f;
    if (saturation.x != kNever) {
      // Alpha that an earlier sample gains is lost to the saturating one; the ray's own alpha stays 1.
      g.w = -(g.x * colour.x + g.y * colour.y + g.z * colour.z);
      end = fminf(end, static_cast<float>(saturation.x) + 1.0f);
    }
    if (silent) end = 0.0f;
  }
  scratch.ray_start[at] = make_float4(ray.start[0], ray.start[1], ray.start[2], end);
  scratch.ray_step[at] = make_float4(ray.step[0], ray.step[1], ray.step[2], colour.w);
  scratch.ray_cotangent[at] = g;
  scratch.ray_saturation[at] = saturation;
  return end;
}

// How far rays are from a cone's apex and axis, squared, and where their samples are.
struct Extent {
  float sine, away, base_min, base_max, step_min, step_max, far;
  bool wide;
};

__device__ __forceinline__ void Extend(const SceneRay& ray, float step_size, const Cone& cone, Extent* extent) {
  const float length = Length(ray.direction);
  const float3 unit = Scaled(ray.direction, 1.0f / length);
  const float away = SquaredDistance(ray.origin, cone.apex);
  const float base = ray.bounds.x * length, step = step_size * length;
  // NaN, from lengths beyond float32, is not within the bounds either.
  extent->wide = extent->wide || !(Dot(cone.axis, unit) > 0.1f && isfinite(away) && step > 0.0f && isfinite(base));
  extent->sine = fmaxf(extent->sine, SquaredSine(cone.axis, unit));
  extent->away = fmaxf(extent->away, away);
  extent->base_min = fminf(extent->base_min, base), extent->base_max = fmaxf(extent->base_max, base);
  extent->step_min = fminf(extent->step_min, step), extent->step_max = fmaxf(extent->step_max, step);
  extent->far = fmaxf(extent->far, fminf(ray.bounds.y * length + step, base + static_cast<float>(kMaxSteps) * step));
}

__device__ __forceinline__ Extent WarpExtent(const Extent& own) {
  return {WarpMaxPositive(own.sine), WarpMaxPositive(own.away), WarpMin(own.base_min), WarpMax(own.base_max), WarpMin(own.step_min),
          WarpMaxPositive(own.step_max), WarpMax(own.far), __any_sync(kAllLanes, own.wide) != 0};
}

// The cone around the rays of a block of pixels, whose rows the warps share. By a thread block.
__device__ void BoundBlock(const Scene& scene, const Scratch& scratch, const Grid& grid, int64_t block) {
  constexpr int kRows = kCudaBlockSide / kWarps;
  __shared__ float3 ends[kWarps][4];  // origins and directions of a first and a last ray of each warp
  __shared__ bool some[kWarps];
  __shared__ Extent extents[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t frame = block / grid.blocks;
  const BlockCorner corner = CornerOfBlock(grid, static_cast<unsigned>(block % grid.blocks));
  SceneRay rays[kRows];
  bool has[kRows];
  unsigned lanes[kRows];
  // All are on their way before one is looked at.
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int64_t own = ViewPixel(scene.shape, frame, corner.view, corner.row + warp * kRows + i, corner.column + lane);
    const int64_t pixel = max(own, int64_t{0});
    has[i] = own >= 0;
    rays[i] = LoadSceneRay(scene, pixel);
  }
  int first_row = kRows, last_row = -1;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    has[i] = has[i] && HasSamples(rays[i]);
    lanes[i] = __ballot_sync(kAllLanes, has[i]);
    if (lanes[i] != 0) first_row = min(first_row, i), last_row = i;
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (i == first_row && lane == FirstLane(lanes[i])) ends[warp][0] = rays[i].origin, ends[warp][1] = rays[i].direction;
    if (i == last_row && lane == 31 - __clz(lanes[i])) ends[warp][2] = rays[i].origin, ends[warp][3] = rays[i].direction;
  }
  if (lane == 0) some[warp] = last_row >= 0;
  __syncthreads();
  int first = kWarps, last = -1;
  for (int i = 0; i < kWarps; ++i) first = some[i] ? min(first, i) : first, last = some[i] ? i : last;
  Cone cone = NoCone();
  if (last >= 0) {
    const float3 a = Normalised(ends[first][1]), b = Normalised(ends[last][3]), p = ends[first][0], q = ends[last][2];
    cone.axis = Normalised(make_float3(a.x + b.x, a.y + b.y, a.z + b.z));
    cone.apex = make_float3(0.5f * (p.x + q.x), 0.5f * (p.y + q.y), 0.5f * (p.z + q.z));
    Extent extent = {0.0f, 0.0f, INFINITY, -INFINITY, INFINITY, 0.0f, -INFINITY, false};
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (has[i]) Extend(rays[i], scene.step_size, cone, &extent);
    }
    extent = WarpExtent(extent);
    if (lane == 0) extents[warp] = extent;
  }
  __syncthreads();
  if (warp != 0) return;
  if (last >= 0) {
    const Extent extent = WarpExtent(extents[lane % kWarps]);
    cone.base_min = extent.base_min, cone.base_max = extent.base_max;
    cone.step_min = extent.step_min, cone.step_max = extent.step_max;
    cone.far = extent.far * 1.00001f;
    Close(&cone, sqrtf(extent.sine), sqrtf(extent.away), extent.wide);
  }
  if (lane == 0) StoreCone(scratch.blocks, block, cone);
}

// The first `pose_blocks` thread blocks take the poses, the others a block of pixels each.
template <bool kPack>
__global__ void __launch_bounds__(kThreads, kPack ? kPrepareBlocks : kBoundBlocks)
    PrepareScene(Scene scene, Cotangent cotangent, Scratch scratch, Grid grid, int64_t pose_blocks) {
  __shared__ Cone tiles[kBlockTileCount];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (blockIdx.x < pose_blocks) {
    PreparePoses<!kPack>(scene, scratch, static_cast<int64_t>(blockIdx.x) * kWarps + warp, lane);
    return;
  }
  const int64_t block = blockIdx.x - pose_blocks, frame = block / grid.blocks;  // of all frames
  if constexpr (!kPack) {
    if (block == 0 && threadIdx.x == 0) *scratch.listed = scratch.marched[1] = 0;
    BoundBlock(scene, scratch, grid, block);
    return;
  }
  for (int in_block = warp; in_block < kBlockTileCount; in_block += kWarps) {
    const int64_t tile = block * kBlockTileCount + in_block;
    const int64_t pixel = PixelIndex(scene.shape, grid, frame, static_cast<unsigned>(tile - frame * grid.tiles), lane);
    const SceneRay seen = LoadSceneRay(scene, pixel);
    const MarchRay ray = MakeMarchRay(seen, scene.step_size);
    float end = ray.count;
    if (__any_sync(kAllLanes, end > 0.0f)) end = PackRay(scratch, cotangent, tile * kWarp + lane, pixel, ray);
    const Cone cone = BoundTile(seen, scene.step_size, end);
    if (lane == 0) {
      StoreCone(scratch.tiles, tile, cone);
      tiles[in_block] = cone;
    }
  }
  __syncthreads();
  if (warp != 0) return;
  const Cone merged = MergeCone(tiles[lane]);
  if (lane == 0) StoreCone(scratch.blocks, block, merged);
}

}  // namespace

void Prepare(const Scene& scene, const Cotangent* cotangent, const Scratch& scratch, cudaStream_t stream) {
  const Shape& s = scene.shape;
  const Grid grid = MakeGrid(s);
  const int64_t pose_blocks = DivideUp(s.frames * DivideUp(s.primitives, kWarp), kWarps);
  const unsigned launches = static_cast<unsigned>(pose_blocks + s.frames * grid.blocks);
  if (cotangent == nullptr) {
    LaunchKernel(PrepareScene<false>, launches, kThreads, 0, stream, scene, Cotangent{}, scratch, grid, pose_blocks);
  } else {
    LaunchKernel(PrepareScene<true>, launches, kThreads, 0, stream, scene, *cotangent, scratch, grid, pose_blocks);
  }
}

}  // namespace raymarch
}  // namespace ava
