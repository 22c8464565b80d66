// The Python module ava_jax._ffi: the custom calls of this platform, by name. No other file knows Python.

#include <nanobind/nanobind.h>

#include "convolution/handler.h"
#include "implicit/handler.h"
#include "marching/handler.h"
#include "rasterize/handler.h"
#include "rasterize/outline_handler.h"
#include "raymarch/cpu.h"
#include "raymarch/handler.h"
#include "sampling/handler.h"
#include "texture/handler.h"
#include "voxels/handler.h"

namespace nb = nanobind;

template <class Handler>
nb::capsule Encapsulate(Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

NB_MODULE(_ffi, m) {
  m.def("registrations", [] {
    nb::dict calls;
    calls["ava_raymarch_forward"] = Encapsulate(AvaRaymarchForward);
    calls["ava_raymarch_backward"] = Encapsulate(AvaRaymarchBackward);
    calls["ava_convolution_gather"] = Encapsulate(AvaConvolutionGather);
    calls["ava_convolution_scatter"] = Encapsulate(AvaConvolutionScatter);
    calls["ava_convolution_correlate"] = Encapsulate(AvaConvolutionCorrelate);
    calls["ava_dense"] = Encapsulate(AvaDense);
    calls["ava_dense_gradient"] = Encapsulate(AvaDenseGradient);
    calls["ava_sampling_read"] = Encapsulate(AvaSamplingRead);
    calls["ava_sampling_read_gradient"] = Encapsulate(AvaSamplingReadGradient);
    calls["ava_voxels"] = Encapsulate(AvaVoxels);
    calls["ava_voxels_gradient"] = Encapsulate(AvaVoxelsGradient);
    calls["ava_rasterize"] = Encapsulate(AvaRasterize);
    calls["ava_rasterize_gradient"] = Encapsulate(AvaRasterizeGradient);
    calls["ava_interpolate"] = Encapsulate(AvaInterpolate);
    calls["ava_interpolate_barycentrics"] = Encapsulate(AvaInterpolateBarycentrics);
    calls["ava_interpolate_attributes"] = Encapsulate(AvaInterpolateAttributes);
    calls["ava_texture_read"] = Encapsulate(AvaTextureRead);
    calls["ava_texture_locate"] = Encapsulate(AvaTextureLocate);
    calls["ava_texture_spread"] = Encapsulate(AvaTextureSpread);
    calls["ava_outline_mark"] = Encapsulate(AvaOutlineMark);
    calls["ava_outline_gradient"] = Encapsulate(AvaOutlineGradient);
    calls["ava_implicit_values"] = Encapsulate(AvaImplicitValues);
    calls["ava_implicit_grid"] = Encapsulate(AvaImplicitGrid);
    calls["ava_marching"] = Encapsulate(AvaMarching);
    return calls;
  });
  m.def("instruction_set", [] { return ava::raymarch::InstructionSetName(); });
}
