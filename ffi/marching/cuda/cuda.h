// Marching cubes on a CUDA stream. Nothing here allocates, waits or copies to the host: scratch comes from the caller.
#pragma once

#include <cuda_runtime_api.h>

#include "../cell.h"

namespace ava {
namespace marching {

// Integers of scratch.
int64_t CudaScratch(int64_t places);

// Pointers are the device's. The result says whether all kernels were launched.
cudaError_t CudaExtract(const Grid& grid, const Mesh& mesh, int32_t* scratch, cudaStream_t stream);

}  // namespace marching
}  // namespace ava
