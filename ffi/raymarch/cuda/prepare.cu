// Poses and bounding spheres of primitives, and the cones around the rays of tiles and blocks.
#include "cones.cuh"
#include "device.cuh"

#include "../bounding.h"

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

__device__ void PreparePose(const Scene& scene, const Scratch& scratch, int64_t at) {
  const Pose pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
  const float radius = Finite(pose.position) ? BoundingRadius(pose) : NAN;
  scratch.spheres[at] = make_float4(pose.position[0], pose.position[1], pose.position[2], radius);
  for (int i = 0; i < 3; ++i) {
    scratch.matrices[3 * at + i] = make_float4(pose.matrix[3 * i], pose.matrix[3 * i + 1], pose.matrix[3 * i + 2], 0.0f);
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

// The first `pose_blocks` thread blocks take the poses, the others a block of pixels each.
template <bool kPack>
__global__ void __launch_bounds__(kThreads, kPrepareBlocks)
    PrepareScene(Scene scene, Cotangent cotangent, Scratch scratch, Grid grid, int64_t poses, int64_t pose_blocks) {
  __shared__ Cone tiles[kBlockTileCount];
  if (blockIdx.x < pose_blocks) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (at < poses) PreparePose(scene, scratch, at);
    return;
  }
  const int64_t block = blockIdx.x - pose_blocks, frame = block / grid.blocks;  // of all frames
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (!kPack && block == 0 && threadIdx.x == 0) *scratch.listed = 0;
  for (int in_block = warp; in_block < kBlockTileCount; in_block += kWarps) {
    const int64_t tile = block * kBlockTileCount + in_block;
    const int64_t pixel = PixelIndex(scene.shape, grid, frame, static_cast<unsigned>(tile - frame * grid.tiles), lane);
    const MarchRay ray = LoadRay(scene, pixel);
    float end = ray.count;
    if (kPack && __any_sync(kAllLanes, end > 0.0f)) end = PackRay(scratch, cotangent, tile * kWarp + lane, pixel, ray);
    const Cone cone = BoundTile(scene, pixel, end);
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
  const int64_t poses = s.frames * s.primitives, pose_blocks = DivideUp(poses, kThreads);
  const unsigned launches = static_cast<unsigned>(pose_blocks + s.frames * grid.blocks);
  if (cotangent == nullptr) {
    LaunchKernel(PrepareScene<false>, launches, kThreads, 0, stream, scene, Cotangent{}, scratch, grid, poses, pose_blocks);
  } else {
    LaunchKernel(PrepareScene<true>, launches, kThreads, 0, stream, scene, *cotangent, scratch, grid, poses, pose_blocks);
  }
}

}  // namespace raymarch
}  // namespace ava
