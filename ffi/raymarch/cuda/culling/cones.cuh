// Cones around a tile's rays, and around other cones; by a warp, the same result in all lanes.
#pragma once

#include "../common/device.cuh"

namespace ava {
namespace raymarch {
namespace {

// Largest of the lanes' numbers, none of them negative or NaN: their bits are in order.
__device__ __forceinline__ float WarpMaxPositive(float x) {
#if __CUDA_ARCH__ >= 800
  return __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(x)));
#else
  for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
#endif
}

__device__ __forceinline__ float WarpMax(float x) {
#if __CUDA_ARCH__ >= 800
  const int bits = __float_as_int(x), most = __reduce_max_sync(kAllLanes, bits ^ (bits >> 31 & INT32_MAX));
  return __int_as_float(most ^ (most >> 31 & INT32_MAX));
#else
  for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
#endif
}

__device__ __forceinline__ float WarpMin(float x) { return -WarpMax(-x); }

__device__ __forceinline__ float WarpSum(float x) {
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(kAllLanes, x, i);
  return x;
}

__device__ __forceinline__ float3 Shuffled(float3 v, int lane) {
  return make_float3(__shfl_sync(kAllLanes, v.x, lane), __shfl_sync(kAllLanes, v.y, lane), __shfl_sync(kAllLanes, v.z, lane));
}

__device__ __forceinline__ float Dot(float3 a, float3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__device__ __forceinline__ float Length(float3 v) { return sqrtf(Dot(v, v)); }
__device__ __forceinline__ float3 Scaled(float3 v, float by) { return make_float3(v.x * by, v.y * by, v.z * by); }
__device__ __forceinline__ float3 Normalised(float3 v) { return Scaled(v, 1.0f / Length(v)); }  // one division, not three

__device__ __forceinline__ float SquaredSine(float3 a, float3 b) {
  const float3 cross = make_float3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
  return Dot(cross, cross);
}

__device__ __forceinline__ float Sine(float3 a, float3 b) { return sqrtf(SquaredSine(a, b)); }

__device__ __forceinline__ float SquaredDistance(float3 a, float3 b) {
  const float3 v = make_float3(a.x - b.x, a.y - b.y, a.z - b.z);
  return Dot(v, v);
}

// Raises bounds above the rounding of what they were computed from.
__device__ __forceinline__ void Close(Cone* cone, float sine, float radius, bool wide) {
  cone->sine = fminf(sine * 1.00001f + 1e-6f, 1.0f);
  cone->cosine = sqrtf(fmaxf(0.0f, 1.0f - cone->sine * cone->sine));
  const float far = fmaxf(fmaxf(fabsf(cone->apex.x), fabsf(cone->apex.y)), fabsf(cone->apex.z));
  cone->radius = wide ? INFINITY : radius * 1.00001f + far * 1e-6f;
  if (!wide) return;
  cone->far = INFINITY;
  // Rays that cancel have no axis, and it must compare.
  cone->apex = make_float3(0.0f, 0.0f, 0.0f);
  cone->axis = make_float3(0.0f, 0.0f, 1.0f);
}

__device__ __forceinline__ Cone NoCone() {
  Cone cone = {};
  cone.radius = -1.0f;
  return cone;
}

// The cone of a warp's rays; `end` is the number of steps that count.
__device__ __forceinline__ Cone BoundTile(const SceneRay& ray, float step_size, float end) {
  const unsigned used = __ballot_sync(kAllLanes, end > 0.0f);
  Cone cone = NoCone();
  if (used == 0) return cone;
  float3 origin = make_float3(0.0f, 0.0f, 0.0f), unit = origin;
  float base = 0.0f, step = 0.0f;
  if (end > 0.0f) {
    const float length = Length(ray.direction);
    origin = ray.origin;
    unit = Scaled(ray.direction, 1.0f / length);
    base = ray.bounds.x * length;
    step = step_size * length;
  }
  const int first = FirstLane(used), last = 31 - __clz(used);
  const float3 a = Shuffled(unit, first), b = Shuffled(unit, last), p = Shuffled(origin, first), q = Shuffled(origin, last);
  cone.axis = Normalised(make_float3(a.x + b.x, a.y + b.y, a.z + b.z));
  cone.apex = make_float3(0.5f * (p.x + q.x), 0.5f * (p.y + q.y), 0.5f * (p.z + q.z));
  const bool mine = end > 0.0f;
  const float away = SquaredDistance(origin, cone.apex);
  // NaN, from lengths beyond float32, is not within the bounds either.
  const bool wide = __any_sync(kAllLanes, mine && !(Dot(cone.axis, unit) > 0.1f && isfinite(away) && step > 0.0f && isfinite(base)));
  cone.base_min = WarpMin(mine ? base : INFINITY);
  cone.base_max = WarpMax(mine ? base : -INFINITY);
  cone.step_min = WarpMin(mine ? step : INFINITY);
  cone.step_max = WarpMaxPositive(mine ? step : 0.0f);
  cone.far = WarpMax(mine ? base + end * step : -INFINITY) * 1.00001f;
  const float sine = WarpMaxPositive(mine ? SquaredSine(cone.axis, unit) : 0.0f);
  Close(&cone, sqrtf(sine), sqrtf(WarpMaxPositive(mine ? away : 0.0f)), wide);
  return cone;
}

// The cone around those of the lanes that hold rays.
__device__ Cone MergeCone(const Cone& own) {
  const bool mine = own.radius >= 0.0f;
  const float number = static_cast<float>(__popc(__ballot_sync(kAllLanes, mine)));
  Cone cone = NoCone();
  if (number == 0.0f) return cone;
  const float3 zero = make_float3(0.0f, 0.0f, 0.0f), axis = mine ? own.axis : zero, apex = mine ? own.apex : zero;
  cone.axis = Normalised(make_float3(WarpSum(axis.x), WarpSum(axis.y), WarpSum(axis.z)));
  cone.apex = make_float3(WarpSum(apex.x) / number, WarpSum(apex.y) / number, WarpSum(apex.z) / number);
  const float away = sqrtf(SquaredDistance(apex, cone.apex)) + own.radius;
  const float sine = Sine(cone.axis, axis), cosine = Dot(cone.axis, axis);
  // The two half-angles together must stay below 90 degrees.
  const float together = cosine * own.cosine - sine * own.sine;
  const bool wide = __any_sync(kAllLanes, mine && !(together > 0.1f && cosine > 0.1f && isfinite(away)));
  cone.base_min = WarpMin(mine ? own.base_min : INFINITY);
  cone.base_max = WarpMax(mine ? own.base_max : -INFINITY);
  cone.step_min = WarpMin(mine ? own.step_min : INFINITY);
  cone.step_max = WarpMaxPositive(mine ? own.step_max : 0.0f);
  cone.far = WarpMax(mine ? own.far : -INFINITY);
  Close(&cone, WarpMaxPositive(mine ? sine * own.cosine + cosine * own.sine : 0.0f), WarpMaxPositive(mine ? away : 0.0f), wide);
  return cone;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
