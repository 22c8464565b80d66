// The Python module ava_jax._ffi_cuda: the custom calls for NVIDIA GPUs, by name. It imports on a machine that has none.

#include <cuda_runtime_api.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <utility>
#include <vector>

#include "implicit/cuda/handler.h"
#include "marching/cuda/cuda.h"
#include "marching/cuda/handler.h"
#include "rasterize/cuda/cuda.h"
#include "rasterize/cuda/handler.h"
#include "raymarch/cuda/cuda.h"
#include "raymarch/cuda/handler.h"
#include "texture/cuda/cuda.h"
#include "texture/cuda/handler.h"

namespace nb = nanobind;

namespace {

using ava::raymarch::Shape;

template <class Handler>
nb::capsule Encapsulate(Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

// Devices, and ten times the major plus the minor version of each one's compute capability; none where there is no driver.
std::vector<std::pair<int, int>> Devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return {};
  std::vector<std::pair<int, int>> devices;
  for (int i = 0; i < count; ++i) {
    int major = 0, minor = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i) != cudaSuccess) {
      continue;
    }
    devices.emplace_back(i, 10 * major + minor);
  }
  return devices;
}

ava::rasterize::Scene SceneOf(int64_t batch, int64_t vertices, int64_t components, int64_t triangles) {
  return {batch, vertices, triangles, static_cast<int32_t>(components), 0, 0, 0.0f, 0.0f, nullptr, nullptr};
}

}  // namespace

NB_MODULE(_ffi_cuda, m) {
  m.def("registrations", [] {
    nb::dict calls;
    calls["ava_rasterize"] = Encapsulate(AvaRasterizeCuda);
    calls["ava_rasterize_gradient"] = Encapsulate(AvaRasterizeGradientCuda);
    calls["ava_interpolate"] = Encapsulate(AvaInterpolateCuda);
    calls["ava_interpolate_barycentrics"] = Encapsulate(AvaInterpolateBarycentricsCuda);
    calls["ava_interpolate_attributes"] = Encapsulate(AvaInterpolateAttributesCuda);
    calls["ava_outline_mark"] = Encapsulate(AvaOutlineMarkCuda);
    calls["ava_outline_gradient"] = Encapsulate(AvaOutlineGradientCuda);
    calls["ava_texture_read"] = Encapsulate(AvaTextureReadCuda);
    calls["ava_texture_locate"] = Encapsulate(AvaTextureLocateCuda);
    calls["ava_texture_spread"] = Encapsulate(AvaTextureSpreadCuda);
    calls["ava_raymarch_forward"] = Encapsulate(AvaRaymarchForwardCuda);
    calls["ava_raymarch_backward"] = Encapsulate(AvaRaymarchBackwardCuda);
    calls["ava_implicit_values"] = Encapsulate(AvaImplicitValuesCuda);
    calls["ava_implicit_grid"] = Encapsulate(AvaImplicitGridCuda);
    calls["ava_marching"] = Encapsulate(AvaMarchingCuda);
    return calls;
  });
  m.def("devices", &Devices);
  // What CMAKE_CUDA_ARCHITECTURES was, with commas.
  m.def("architectures", [] { return AVA_CUDA_ARCHITECTURES; });
  // Integers of scratch that marching cubes need for a grid.
  m.def("marching_scratch", [](int64_t z, int64_t y, int64_t x) { return ava::marching::CudaScratch(z * y * x); });
  // Bytes of scratch that gradients of meshes need: of vertices, of outlines (and their marks), and of what pixels read (texels, or values at corners).
  m.def("gradient_scratch", [](int64_t batch, int64_t vertices, int64_t components, int64_t triangles) {
    return ava::rasterize::CudaGradientScratch(SceneOf(batch, vertices, components, triangles));
  });
  m.def("outline_scratch", [](int64_t batch, int64_t vertices, int64_t components, int64_t triangles, int64_t edges) {
    return ava::rasterize::CudaOutlineScratch(SceneOf(batch, vertices, components, triangles), edges);
  });
  m.def("mark_scratch", [](int64_t, int64_t, int64_t) { return ava::rasterize::kMarkScratch; });
  m.def("attributes_scratch", [](int64_t batch, int64_t height, int64_t width, int64_t rows, int64_t channels, bool common) {
    return ava::rasterize::CudaAttributesScratch({batch, rows, channels, 0, height, width, common, nullptr, nullptr, nullptr, nullptr});
  });
  m.def("texture_scratch", [](int64_t batch, int64_t height, int64_t width, int64_t texels, int64_t channels, bool common) {
    ava::texture::Task task = {};
    task.batch = batch, task.pixels = height * width, task.texels = texels, task.channels = channels, task.common = common;
    return ava::texture::CudaSpreadScratch(task, width);
  });
  // Floats of scratch that the passes need for a frame.
  m.def("scratch", [](int64_t views, int64_t height, int64_t width, int64_t primitives) {
    const Shape shape = {1, views, height, width, primitives, 0, 0};
    return nb::make_tuple(ava::raymarch::CudaForwardScratch(shape), ava::raymarch::CudaBackwardScratch(shape));
  });
}
