// How kernels are launched: by nvcc, or on a CPU in the tests, where tests/ops/fibers/cuda_runtime.h stands in for CUDA.
#pragma once

#include <cuda_runtime.h>

namespace ava {
namespace {

// cudaGetLastError says whether it was launched.
template <class... Parameters, class... Arguments>
void Launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, cudaStream_t stream, const Arguments&... arguments) {
#ifdef __CUDACC__
  kernel<<<blocks, threads, 0, stream>>>(arguments...);
#else
  fibers::Launch([=] { kernel(arguments...); }, blocks, threads, 0, stream);
#endif
}

}  // namespace
}  // namespace ava
