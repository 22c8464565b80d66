// The Python module ava_jax._ffi_cuda: the custom calls for NVIDIA GPUs, by name. It imports on a machine that has none.

#include <cuda_runtime_api.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "raymarch/cuda/cuda.h"
#include "raymarch/cuda/handler.h"

namespace nb = nanobind;

namespace {

using ava::raymarch::Shape;

template <class Handler>
nb::capsule Encapsulate(Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

// Names of the devices that none of the compiled kernels runs on, and their compute capabilities; empty if all can.
std::string UnservedDevices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return "";
  std::string names;
  for (int i = 0; i < count; ++i) {
    int major = 0, minor = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i) != cudaSuccess) {
      continue;
    }
    if (10 * major + minor >= AVA_CUDA_OLDEST) continue;
    names += (names.empty() ? "" : ", ") + std::string("device ") + std::to_string(i) + " (sm_" + std::to_string(10 * major + minor) + ")";
  }
  return names;
}

}  // namespace

NB_MODULE(_ffi_cuda, m) {
  m.def("registrations", [] {
    nb::dict calls;
    calls["ava_raymarch_forward"] = Encapsulate(AvaRaymarchForwardCuda);
    calls["ava_raymarch_backward"] = Encapsulate(AvaRaymarchBackwardCuda);
    return calls;
  });
  m.def("unserved_devices", &UnservedDevices);
  m.def("oldest", [] { return AVA_CUDA_OLDEST; });
  // Floats of scratch that the passes need for a frame.
  m.def("scratch", [](int64_t views, int64_t height, int64_t width, int64_t primitives) {
    const Shape shape = {1, views, height, width, primitives, 0, 0};
    return nb::make_tuple(ava::raymarch::CudaForwardScratch(shape), ava::raymarch::CudaBackwardScratch(shape));
  });
}
