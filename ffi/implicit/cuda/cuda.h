// Implicit functions on a CUDA stream. Nothing here allocates, waits or copies to the host.
#pragma once

#include <cuda_runtime_api.h>

#include "../field.h"

namespace ava {
namespace implicit {

// Pointers are the device's. The result says whether the kernel was launched.
cudaError_t CudaEvaluate(const Field& field, const Places& places, float* out, cudaStream_t stream);

}  // namespace implicit
}  // namespace ava
