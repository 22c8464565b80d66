// What the kernels of the backward pass share.
#pragma once

#include "cuda.h"
#include "device.cuh"

namespace ava {
namespace raymarch {

constexpr int kPoseSums = 12;  // of dL/dy_i, and of dL/dy_i v_j with v = x - position

// Gradients of templates of side 8 without a warp field, and the sums of poses.
cudaError_t DifferentiateCells(const Scene& scene, const Scratch& scratch, const Grid& grid, float* gradients, cudaStream_t stream);

namespace {

constexpr float kInside = 0.99999994f;  // the largest number below 1

__device__ __forceinline__ float Dot(const float4& a, const float4& b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }

// Adds a warp's sums over its lanes to lane i's total of sum i, and clears them.
__device__ __forceinline__ void CollectPose(int lane, float sums[kPoseSums], double* total) {
#pragma unroll
  for (int i = 0; i < kPoseSums; ++i) {
    float sum = sums[i];
    for (int j = 16; j > 0; j /= 2) sum += __shfl_xor_sync(kAllLanes, sum, j);
    if (lane == i) *total += sum;
    sums[i] = 0.0f;
  }
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
