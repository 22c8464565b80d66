// Reads of textures on a CUDA stream. Nothing here allocates, waits or copies to the host. Gradients of texels are the same bits from run
// to run: sums in fixed point (../../common/spread.cuh). Pointers are the device's; the result says whether all kernels were launched.
#pragma once

#include <cuda_runtime_api.h>

#include "../sample.h"

namespace ava {
namespace texture {

cudaError_t CudaRead(const Task& task, float* out, cudaStream_t stream);
// `d_level` null where there are no levels.
cudaError_t CudaLocate(const Task& task, const float* cotangent, float* d_uv, float* d_level, cudaStream_t stream);
constexpr int64_t kMostTexels = 0xffffffffll - 1;  // of a texture: sums find their places by 32 bits

// Bytes of scratch, aligned to 16. Pixels lie in rows of `width`.
int64_t CudaSpreadScratch(const Task& task, int64_t width);
cudaError_t CudaSpread(const Task& task, int64_t width, const float* cotangent, void* scratch, float* d_texture, cudaStream_t stream);

}  // namespace texture
}  // namespace ava
