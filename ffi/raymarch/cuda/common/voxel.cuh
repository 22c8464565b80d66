// A template's voxels as they lie in memory, float32 or bfloat16; what is computed from them is float32.
#pragma once

#include "device.cuh"

namespace ava {
namespace raymarch {

using FloatVoxel = float4;
using BfloatVoxel = uint2;  // red and green, blue and density: the first of two in the lower half of a word

namespace {

__device__ __forceinline__ float4 Widen(const FloatVoxel& v) { return v; }

// bfloat16 is the upper half of a float32.
__device__ __forceinline__ float4 Widen(const BfloatVoxel& v) {
  return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16),
                     __uint_as_float(v.y & 0xffff0000u));
}

// For what is used again and again.
__device__ __forceinline__ float4 WidenOnce(const FloatVoxel& v) { return v; }
__device__ __forceinline__ float4 WidenOnce(const BfloatVoxel& v) {
  const float4 wide = Widen(v);
  return make_float4(Pinned(wide.x), Pinned(wide.y), Pinned(wide.z), Pinned(wide.w));
}

// To the nearest bfloat16, of two as near to the even one; as bits. Not a number stays so.
__device__ __forceinline__ unsigned RoundToBfloat(float x) {
  const unsigned bits = __float_as_uint(x);
  return x == x ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : bits >> 16 | 0x40u;
}

__device__ __forceinline__ void StoreVoxel(FloatVoxel* to, const float4& v) { *to = v; }
__device__ __forceinline__ void StoreVoxel(BfloatVoxel* to, const float4& v) {
  *to = make_uint2(RoundToBfloat(v.y) << 16 | RoundToBfloat(v.x), RoundToBfloat(v.w) << 16 | RoundToBfloat(v.z));
}

// The templates [F, K, D, D, D] of a scene, and their gradient.
template <class Voxel>
__host__ __device__ __forceinline__ const Voxel* Templates(const Scene& scene) {
  if constexpr (sizeof(Voxel) == sizeof(FloatVoxel)) {
    return reinterpret_cast<const Voxel*>(scene.rgba);
  } else {
    return reinterpret_cast<const Voxel*>(scene.rgba_bfloat16);
  }
}

template <class Voxel>
Voxel* Templates(const Gradient& gradient) {
  if constexpr (sizeof(Voxel) == sizeof(FloatVoxel)) {
    return reinterpret_cast<Voxel*>(gradient.rgba);
  } else {
    return reinterpret_cast<Voxel*>(gradient.rgba_bfloat16);
  }
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
