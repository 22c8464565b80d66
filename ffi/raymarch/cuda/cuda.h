// The raymarcher on a CUDA stream. Nothing here allocates, waits or copies to the host: scratch comes from the caller.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../params.h"

namespace ava {
namespace raymarch {

constexpr int kCudaMaxSide = 64;

// Floats of scratch: linear in pixels and in primitives.
int64_t CudaForwardScratch(const Shape& shape);
int64_t CudaBackwardScratch(const Shape& shape);

// Pointers are the device's. The result says whether all kernels were launched.
cudaError_t CudaForward(const Scene& scene, const Image& image, float* scratch, cudaStream_t stream);
cudaError_t CudaBackward(const Scene& scene, const Cotangent& cotangent, const Gradient& gradient, float* scratch,
                         cudaStream_t stream);

}  // namespace raymarch
}  // namespace ava
