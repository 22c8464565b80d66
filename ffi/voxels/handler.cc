#include "handler.h"

#include <string>

#include "../common/check.h"
#include "../common/guarded.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace voxels {
namespace {

using Floats = ffi::Buffer<ffi::F32>;

// Reads the shape off the arrays, which must agree.
ffi::Error MakeLayout(Dims colour, Dims log_opacity, Dims rgba, float scale, float offset, Layout* layout) {
  bool fits = colour.size() == 4 && log_opacity.size() == 4 && rgba.size() == 6;
  if (fits) {
    const int64_t b = log_opacity[0], s = log_opacity[1], d = log_opacity[3];
    fits = d > 0 && s % d == 0 && log_opacity[2] == s;
    fits = fits && colour[0] == b && colour[1] == s && colour[2] == s && colour[3] == 3 * d;
    fits = fits && rgba[0] == b && rgba[1] == (s / d) * (s / d) && rgba[2] == d && rgba[3] == d && rgba[4] == d && rgba[5] == 4;
    *layout = {b, s, d, scale, offset};
  }
  if (fits) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("voxels: colour must be [B, S, S, 3 d], log_opacity [B, S, S, d], rgba [B, (S / d)^2, d, d, d, 4]; got " +
                                     ShapeText(colour) + ", " + ShapeText(log_opacity) + ", " + ShapeText(rgba));
}

ffi::Error ForwardImpl(ffi::ThreadPool threads, Floats colour, Floats log_opacity, ffi::Result<Floats> rgba, float scale, float offset) {
  Layout layout;
  if (ffi::Error error = MakeLayout(colour.dimensions(), log_opacity.dimensions(), rgba->dimensions(), scale, offset, &layout);
      error.failure()) {
    return error;
  }
  const Arrays arrays = {colour.typed_data(), log_opacity.typed_data(), rgba->typed_data()};
  return Guarded("voxels", [&] { Forward(layout, arrays, MakePool(threads)); });
}

ffi::Error BackwardImpl(ffi::ThreadPool threads, Floats rgba, Floats cotangent, ffi::Result<Floats> colour, ffi::Result<Floats> log_opacity,
                        float scale, float offset) {
  Layout layout;
  if (ffi::Error error = MakeLayout(colour->dimensions(), log_opacity->dimensions(), rgba.dimensions(), scale, offset, &layout);
      error.failure()) {
    return error;
  }
  if (cotangent.element_count() != rgba.element_count()) return ffi::Error::InvalidArgument("voxels: the cotangent must be as rgba");
  const GradientArrays arrays = {rgba.typed_data(), cotangent.typed_data(), colour->typed_data(), log_opacity->typed_data()};
  return Guarded("voxels", [&] { Backward(layout, arrays, MakePool(threads)); });
}

}  // namespace
}  // namespace voxels
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaVoxels, ava::voxels::ForwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::voxels::Floats>()
                                  .Arg<ava::voxels::Floats>()
                                  .Ret<ava::voxels::Floats>()
                                  .Attr<float>("scale")
                                  .Attr<float>("offset"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaVoxelsGradient, ava::voxels::BackwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::voxels::Floats>()
                                  .Arg<ava::voxels::Floats>()
                                  .Ret<ava::voxels::Floats>()
                                  .Ret<ava::voxels::Floats>()
                                  .Attr<float>("scale")
                                  .Attr<float>("offset"));
