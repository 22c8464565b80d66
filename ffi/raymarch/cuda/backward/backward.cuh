// What the kernels of the backward pass share.
#pragma once

#include "../common/device.cuh"
#include "../cuda.h"

namespace ava {
namespace raymarch {

constexpr int kPoseSums = 12;  // of dL/dy_i, and of dL/dy_i v_j with v = x - position

// Gradients of templates of side 8 without a warp field, and the sums of poses.
cudaError_t DifferentiateCells(const Scene& scene, const Scratch& scratch, const Grid& grid, const Gradient& gradient, cudaStream_t stream);

namespace {

constexpr float kInside = 0.99999994f;  // the largest number below 1

__device__ __forceinline__ float Dot(const float4& a, const float4& b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }

// Which of the sums a lane gets from CollectPose; of two lanes with the same one the even one is a pose lane.
__device__ __forceinline__ int PoseIndex(int lane) {
  return (lane >> 4) * 6 + (lane >> 3 & 1) * 3 + (lane >> 2 & 1) * 2 + (lane >> 1 & 1);
}
__device__ __forceinline__ bool IsPoseLane(int lane) { return (lane & 1) == 0 && (lane & 6) != 6; }

// Halves what a lane holds: gives the lane across the half that is not its own, and adds what it gets.
template <int kHalf>
__device__ __forceinline__ void Exchange(int lane, int across, float* sums) {
  const bool upper = (lane & across) != 0;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    const float given = upper ? sums[i] : sums[kHalf + i], kept = upper ? sums[kHalf + i] : sums[i];
    sums[i] = kept + __shfl_xor_sync(kAllLanes, given, across);
  }
}

// Adds a warp's sums over its lanes to the totals of the lanes that PoseIndex says, and clears them.
__device__ __forceinline__ void CollectPose(int lane, float sums[kPoseSums], double* total) {
  float held[kPoseSums + 1];
#pragma unroll
  for (int i = 0; i < kPoseSums; ++i) {
    held[i] = sums[i];
    sums[i] = 0.0f;
  }
  Exchange<6>(lane, 16, held);
  Exchange<3>(lane, 8, held);
  held[3] = 0.0f;
  Exchange<2>(lane, 4, held);
  Exchange<1>(lane, 2, held);
  *total += held[0] + __shfl_xor_sync(kAllLanes, held[0], 1);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
