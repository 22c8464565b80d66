// The rasteriser on a CUDA stream. Nothing here allocates, waits or copies to the host: what is drawn lies in the results until it is
// resolved. The same bits from run to run: the nearest of all triangles at a pixel does not depend on who comes first.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../scene.h"

namespace ava {
namespace rasterize {

// As `Rasterize` of ../cpu.h; pointers are the device's. `out.barycentrics` must be aligned to 8 bytes. The result says whether all kernels were
// launched.
cudaError_t CudaRasterize(const Scene& scene, const int32_t* behind_index, const float* behind_depth, const Fragments& out,
                          cudaStream_t stream);

}  // namespace rasterize
}  // namespace ava
