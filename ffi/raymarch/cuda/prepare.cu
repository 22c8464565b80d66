// Poses and bounding spheres of primitives, and the hierarchy of cones around rays.
#include "device.cuh"

#include "../bounding.h"

namespace ava {
namespace raymarch {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

__global__ void __launch_bounds__(kThreads) PreparePoses(Scene scene, Scratch scratch, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= count) return;
  const Pose pose = MakePose(scene.position + 3 * at, scene.rotation + 9 * at, scene.scale + 3 * at);
  const float radius = Finite(pose.position) ? BoundingRadius(pose) : NAN;
  scratch.spheres[at] = make_float4(pose.position[0], pose.position[1], pose.position[2], radius);
  for (int i = 0; i < 3; ++i) {
    scratch.matrices[3 * at + i] = make_float4(pose.matrix[3 * i], pose.matrix[3 * i + 1], pose.matrix[3 * i + 2], 0.0f);
  }
}

__device__ __forceinline__ float WarpMax(float x) {
  for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
}

__device__ __forceinline__ float WarpMin(float x) {
  for (int i = 16; i > 0; i /= 2) x = fminf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
}

__device__ __forceinline__ float WarpSum(float x) {
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(kAllLanes, x, i);
  return x;
}

__device__ __forceinline__ float3 Shuffled(float3 v, int lane) {
  return make_float3(__shfl_sync(kAllLanes, v.x, lane), __shfl_sync(kAllLanes, v.y, lane), __shfl_sync(kAllLanes, v.z, lane));
}

__device__ __forceinline__ float Length(float3 v) { return sqrtf(v.x * v.x + v.y * v.y + v.z * v.z); }

__device__ __forceinline__ float3 Normalised(float3 v) {
  const float length = Length(v);
  return make_float3(v.x / length, v.y / length, v.z / length);
}

__device__ __forceinline__ float Dot(float3 a, float3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

__device__ __forceinline__ float Sine(float3 a, float3 b) {
  return Length(make_float3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x));
}

// Raises bounds above the rounding of what they were computed from.
__device__ __forceinline__ void Close(Cone* cone, float sine, float radius, bool wide) {
  cone->sine = fminf(sine * 1.00001f + 1e-6f, 1.0f);
  cone->cosine = sqrtf(fmaxf(0.0f, 1.0f - cone->sine * cone->sine));
  const float far = fmaxf(fmaxf(fabsf(cone->apex.x), fabsf(cone->apex.y)), fabsf(cone->apex.z));
  cone->radius = wide ? INFINITY : radius * 1.00001f + far * 1e-6f;
  if (wide) cone->far = INFINITY;
}

// The cone of a warp's rays; `end` is the number of steps that count.
__device__ Cone BoundTile(const Scene& scene, int64_t pixel, float end) {
  const unsigned used = __ballot_sync(kAllLanes, end > 0.0f);
  Cone cone = {};
  cone.radius = -1.0f;
  if (used == 0) return cone;
  float3 origin = make_float3(0.0f, 0.0f, 0.0f), unit = origin;
  float base = 0.0f, step = 0.0f;
  if (end > 0.0f) {
    const float* o = scene.origin + 3 * pixel;
    const float* d = scene.direction + 3 * pixel;
    origin = make_float3(o[0], o[1], o[2]);
    unit = make_float3(d[0], d[1], d[2]);
    const float length = Length(unit);
    unit = Normalised(unit);
    base = scene.bounds[2 * pixel] * length;
    step = scene.step_size * length;
  }
  const int first = FirstLane(used), last = 31 - __clz(used);
  const float3 a = Shuffled(unit, first), b = Shuffled(unit, last), p = Shuffled(origin, first), q = Shuffled(origin, last);
  cone.axis = Normalised(make_float3(a.x + b.x, a.y + b.y, a.z + b.z));
  cone.apex = make_float3(0.5f * (p.x + q.x), 0.5f * (p.y + q.y), 0.5f * (p.z + q.z));
  const bool mine = end > 0.0f;
  const float away = Length(make_float3(origin.x - cone.apex.x, origin.y - cone.apex.y, origin.z - cone.apex.z));
  // NaN, from lengths beyond float32, is not within the bounds either.
  const bool wide = __any_sync(kAllLanes, mine && !(Dot(cone.axis, unit) > 0.1f && isfinite(away) && step > 0.0f && isfinite(base)));
  cone.base_min = WarpMin(mine ? base : INFINITY);
  cone.base_max = WarpMax(mine ? base : -INFINITY);
  cone.step_min = WarpMin(mine ? step : INFINITY);
  cone.step_max = WarpMax(mine ? step : 0.0f);
  cone.far = WarpMax(mine ? base + end * step : -INFINITY) * 1.00001f;
  Close(&cone, WarpMax(mine ? Sine(cone.axis, unit) : 0.0f), WarpMax(mine ? away : 0.0f), wide);
  return cone;
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

template <bool kPack>
__global__ void __launch_bounds__(kThreads)
    BoundRays(Scene scene, Cotangent cotangent, Scratch scratch, Grid grid, int64_t tiles) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;  // of all frames
  if (tile >= tiles) return;
  const int lane = threadIdx.x % kWarp;
  const int64_t pixel = PixelIndex(scene.shape, grid, tile / grid.tiles, tile % grid.tiles, lane);
  const MarchRay ray = LoadRay(scene, pixel);
  float end = ray.count;
  if (kPack && __any_sync(kAllLanes, end > 0.0f)) end = PackRay(scratch, cotangent, tile * kWarp + lane, pixel, ray);
  const Cone cone = BoundTile(scene, pixel, end);
  if (lane == 0) StoreCone(scratch.tiles, tile, cone);
}

// The cone around `fan` <= 32 others that follow each other, by one warp.
__global__ void __launch_bounds__(kThreads) MergeCones(Cones from, Cones to, int fan, int64_t count) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (index >= count) return;
  const int lane = threadIdx.x % kWarp;
  Cone own = {};
  own.radius = -1.0f;
  if (lane < fan) own = LoadCone(from, index * fan + lane);
  const bool mine = own.radius >= 0.0f;
  const float number = WarpSum(mine ? 1.0f : 0.0f);
  Cone cone = {};
  cone.radius = -1.0f;
  if (number > 0.0f) {
    const float3 zero = make_float3(0.0f, 0.0f, 0.0f), axis = mine ? own.axis : zero, apex = mine ? own.apex : zero;
    cone.axis = Normalised(make_float3(WarpSum(axis.x), WarpSum(axis.y), WarpSum(axis.z)));
    cone.apex = make_float3(WarpSum(apex.x) / number, WarpSum(apex.y) / number, WarpSum(apex.z) / number);
    const float away = Length(make_float3(apex.x - cone.apex.x, apex.y - cone.apex.y, apex.z - cone.apex.z)) + own.radius;
    const float sine = Sine(cone.axis, axis), cosine = Dot(cone.axis, axis);
    // The two half-angles together must stay below 90 degrees.
    const float together = cosine * own.cosine - sine * own.sine;
    const bool wide = __any_sync(kAllLanes, mine && !(together > 0.1f && cosine > 0.1f && isfinite(away)));
    cone.base_min = WarpMin(mine ? own.base_min : INFINITY);
    cone.base_max = WarpMax(mine ? own.base_max : -INFINITY);
    cone.step_min = WarpMin(mine ? own.step_min : INFINITY);
    cone.step_max = WarpMax(mine ? own.step_max : 0.0f);
    cone.far = WarpMax(mine ? own.far : -INFINITY);
    Close(&cone, WarpMax(mine ? sine * own.cosine + cosine * own.sine : 0.0f), WarpMax(mine ? away : 0.0f), wide);
  }
  if (lane == 0) StoreCone(to, index, cone);
}

unsigned Launches(int64_t count, int64_t per_block) { return static_cast<unsigned>(DivideUp(count, per_block)); }

}  // namespace

void Prepare(const Scene& scene, const Cotangent* cotangent, const Scratch& scratch, cudaStream_t stream) {
  const Shape& s = scene.shape;
  const Grid grid = MakeGrid(s);
  const int64_t poses = s.frames * s.primitives, tiles = s.frames * grid.tiles, blocks = s.frames * grid.blocks;
  PreparePoses<<<Launches(poses, kThreads), kThreads, 0, stream>>>(scene, scratch, poses);
  if (cotangent == nullptr) {
    BoundRays<false><<<Launches(tiles, kWarps), kThreads, 0, stream>>>(scene, Cotangent{}, scratch, grid, tiles);
  } else {
    BoundRays<true><<<Launches(tiles, kWarps), kThreads, 0, stream>>>(scene, *cotangent, scratch, grid, tiles);
  }
  MergeCones<<<Launches(blocks, kWarps), kThreads, 0, stream>>>(scratch.tiles, scratch.blocks, kBlockTileCount, blocks);
  const int64_t regions = s.frames * grid.regions;
  MergeCones<<<Launches(regions, kWarps), kThreads, 0, stream>>>(scratch.blocks, scratch.regions, kRegionBlockCount, regions);
}

}  // namespace raymarch
}  // namespace ava
