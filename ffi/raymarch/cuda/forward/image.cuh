// Writing what the forward pass found.
#pragma once

#include "../common/device.cuh"

namespace ava {
namespace raymarch {
namespace {

// Of a ray; what saturated it, where it did, has been written before.
__device__ __forceinline__ void Store(const Image& image, int64_t pixel, const float4& rgba, bool saturated) {
  if (pixel < 0) return;
  reinterpret_cast<float4*>(image.rgba)[pixel] = rgba;
  if (saturated) return;
  reinterpret_cast<float4*>(image.saturation)[pixel] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  reinterpret_cast<int2*>(image.saturation_at)[pixel] = make_int2(kNever, kNever);
}

// Stores rows of pixels of blocks that list nothing: the rows begin <= i < end of all of them, from the order's `first` on.
__device__ __forceinline__ void StoreEmpty(const Scene& scene, const Image& image, const Scratch& scratch, const Grid& grid, int first,
                                           int begin, int end, int lane) {
#pragma unroll 1
  for (int i = begin; i < end; ++i) {
    const unsigned block = scratch.order[first + i / kCudaBlockSide], frame = block / static_cast<unsigned>(grid.blocks);
    const BlockCorner corner = CornerOfBlock(grid, block - frame * static_cast<unsigned>(grid.blocks));
    const int64_t pixel = ViewPixel(scene.shape, frame, corner.view, corner.row + i % kCudaBlockSide, corner.column + lane);
    Store(image, pixel, make_float4(0.0f, 0.0f, 0.0f, 0.0f), false);
  }
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
