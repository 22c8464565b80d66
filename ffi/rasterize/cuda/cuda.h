// The rasteriser on a CUDA stream. Nothing here allocates, waits or copies to the host: what is drawn lies in the results until it is
// resolved, and gradients take scratch that the caller has. The same bits from run to run: the nearest of all triangles at a pixel does not
// depend on who comes first, nor do the sums of sums.cuh and spread.cuh. Pointers are the device's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../scene.h"

namespace ava {
namespace rasterize {

// As `Rasterize` of ../cpu.h. `out.barycentrics` must be aligned to 8 bytes. The result says whether all kernels were launched, here and
// below.
cudaError_t CudaRasterize(const Scene& scene, const int32_t* behind_index, const float* behind_depth, const Fragments& out,
                          cudaStream_t stream);

// Bytes of scratch, aligned to 16.
int64_t CudaGradientScratch(const Scene& scene);
cudaError_t CudaRasterizeGradient(const Scene& scene, const int32_t* index, const float* d_barycentrics, const float* d_depth,
                                  void* scratch, float* d_vertices, cudaStream_t stream);

cudaError_t CudaInterpolate(const Interpolation& task, float* out, cudaStream_t stream);
cudaError_t CudaInterpolateBarycentrics(const Interpolation& task, const float* cotangent, float* d_barycentrics, cudaStream_t stream);
int64_t CudaAttributesScratch(const Interpolation& task);
cudaError_t CudaInterpolateAttributes(const Interpolation& task, const float* cotangent, void* scratch, float* d_values,
                                      cudaStream_t stream);

constexpr int64_t kMarkScratch = 4;  // bytes
// `marks` must be aligned to 4 bytes.
cudaError_t CudaMarkOutlines(const Scene& scene, const Outlines& outlines, void* scratch, uint8_t* marks, cudaStream_t stream);
int64_t CudaOutlineScratch(const Scene& scene, int64_t edges);
cudaError_t CudaOutlineGradient(const Scene& scene, const Outlines& outlines, void* scratch, float* d_vertices, cudaStream_t stream);

}  // namespace rasterize
}  // namespace ava
