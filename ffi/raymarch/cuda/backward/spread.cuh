// Spreading samples' gradients over voxels in shared memory.
//
// Ownership: the 8 voxels around a sample have the 8 combinations of odd and even x, y, z. A combination ("class") and a channel
// belong to one lane, whatever the sample.
#pragma once

#include "../common/sample.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kClasses = 8;

// What a kernel accumulates: the template's gradient and the pose's, or that of the warp field.
struct Target {
  int side;     // of the volume whose gradient it is
  int slices;   // of a slab: even
  int slabs;
  int half;     // classes have `half` voxels along an axis
  int cells;    // half * half * slices / 2
};

// Samples whose gradient is spread.
struct SpreadBatch {
  float4 even[kWarp];   // index of the class cell of odd voxels (bits), weights of the even voxels x, y, z
  float4 odd[kWarp];    // by which axes that of the even voxels is one more (bits), weights of the odd voxels
  float4 value[kWarp];  // the gradient by channel
};

// Index and weights of the even and odd voxels along an axis, for voxels from `begin` to `end`; others get no weight.
__device__ __forceinline__ void SplitAxis(int lower, float fraction, bool touches, int begin, int end, int* odd, int* more,
                                          float* even_weight, float* odd_weight) {
  const int even_voxel = (lower + 1) >> 1 << 1, odd_voxel = ((lower + 1) >> 1 << 1) - 1 + ((lower & 1) ? 0 : 2);
  const bool even_in = touches && even_voxel >= begin && even_voxel < end, odd_in = touches && odd_voxel >= begin && odd_voxel < end;
  const int even_at = even_in ? (even_voxel - begin) >> 1 : 0, odd_at = odd_in ? (odd_voxel - begin) >> 1 : even_at;
  const int even = even_in ? even_at : odd_at;
  *odd = odd_at;
  *more = even - odd_at;  // 0 or 1
  *even_weight = even_in ? (lower & 1 ? fraction : 1.0f - fraction) : 0.0f;
  *odd_weight = odd_in ? (lower & 1 ? 1.0f - fraction : fraction) : 0.0f;
}

__device__ __forceinline__ void Record(const Cell& cell, const float4& value, const Target& target, int slab_begin,
                                               SpreadBatch* spread, int slot) {
  int odd = 0, more = 0, stride = 1;
  float even_weight[3], odd_weight[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const int begin = i == 2 ? slab_begin : 0, end = i == 2 ? min(target.side, slab_begin + target.slices) : target.side;
    int odd_at, one_more;
    SplitAxis(cell.at[i], cell.fraction[i], cell.touches, begin, end, &odd_at, &one_more, &even_weight[i], &odd_weight[i]);
    odd += odd_at * stride;
    more |= one_more << i;
    stride *= target.half;
  }
  spread->even[slot] = make_float4(__int_as_float(odd), even_weight[0], even_weight[1], even_weight[2]);
  spread->odd[slot] = make_float4(__int_as_float(more), odd_weight[0], odd_weight[1], odd_weight[2]);
  spread->value[slot] = value;
}

// A lane's part in spreading.
struct Owner {
  int channel;
  bool odd[3];
  float* own;

  __device__ __forceinline__ Owner(int lane, float* copy) : channel(lane % 4), own(copy + lane) {
    for (int i = 0; i < 3; ++i) odd[i] = lane / 4 >> i & 1;
  }

  __device__ __forceinline__ void Find(const SpreadBatch& spread, int slot, const Target& target, float** gradient,
                                       float* weight) const {
    const float4 even = spread.even[slot], odds = spread.odd[slot];
    const int more = __float_as_int(odds.x);
    int index = __float_as_int(even.x);
    index += (!odd[0] && more & 1) ? 1 : 0;
    index += (!odd[1] && more & 2) ? target.half : 0;
    index += (!odd[2] && more & 4) ? target.half * target.half : 0;
    *gradient = own + index * kWarp;
    *weight = (odd[0] ? odds.y : even.y) * (odd[1] ? odds.z : even.z) * (odd[2] ? odds.w : even.w);
  }

  // Adds `count` samples' gradients, two at a time; the slot after an odd number of them must hold zeros.
  __device__ __forceinline__ void Add(const SpreadBatch& spread, int count, const Target& target) const {
    for (int slot = 0; slot < count; slot += 2) {
      float *first, *second, first_weight, second_weight;
      Find(spread, slot, target, &first, &first_weight);
      Find(spread, slot + 1, target, &second, &second_weight);
      const float g = reinterpret_cast<const float*>(&spread.value[slot])[channel];
      const float h = reinterpret_cast<const float*>(&spread.value[slot + 1])[channel];
      float a = *first, b = *second;
      const bool same = first == second;
      a += first_weight * g;
      b = (same ? a : b) + second_weight * h;
      *first = a;
      *second = b;
    }
  }
};

}  // namespace
}  // namespace raymarch
}  // namespace ava
