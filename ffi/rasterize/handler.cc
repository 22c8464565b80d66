#include "handler.h"

#include "../common/guarded.h"
#include "buffers.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace rasterize {
namespace {

ffi::Error RasterizeImpl(ffi::ThreadPool threads, Floats vertices, Ints faces, Ints behind_index, Floats behind_depth,
                         ffi::Result<Ints> index, ffi::Result<Floats> barycentrics, ffi::Result<Floats> depth, float low, float high) {
  Drawing d;
  if (ffi::Error unfit = MakeDrawing(vertices, faces, behind_index, behind_depth, index, barycentrics, depth, low, high, &d);
      unfit.failure()) {
    return unfit;
  }
  return Guarded("rasterize", [&] { Rasterize(d.scene, d.behind_index, d.behind_depth, d.out, MakePool(threads)); });
}

ffi::Error RasterizeGradientImpl(ffi::ThreadPool threads, Floats vertices, Ints faces, Ints index, Floats d_barycentrics, Floats d_depth,
                                 ffi::Result<Floats> d_vertices, float low, float high) {
  Scene s;
  ffi::Error error = MakeGradient(vertices, faces, index, d_barycentrics, d_depth, d_vertices, low, high, &s);
  if (error.failure()) return error;
  return Guarded("rasterize", [&] {
    RasterizeGradient(s, index.typed_data(), d_barycentrics.typed_data(), d_depth.typed_data(), d_vertices->typed_data(),
                      MakePool(threads));
  });
}

ffi::Error InterpolateImpl(ffi::ThreadPool threads, Floats values, Ints faces, Ints index, Floats barycentrics, ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeForward(values, faces, index, barycentrics, out, &t); error.failure()) return error;
  return Guarded("interpolate", [&] { Interpolate(t, out->typed_data(), MakePool(threads)); });
}

ffi::Error InterpolateBarycentricsImpl(ffi::ThreadPool threads, Floats values, Ints faces, Ints index, Floats cotangent,
                                       ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeBarycentrics(values, faces, index, cotangent, out, &t); error.failure()) return error;
  return Guarded("interpolate",
                 [&] { InterpolateBarycentrics(t, cotangent.typed_data(), out->typed_data(), MakePool(threads)); });
}

ffi::Error InterpolateAttributesImpl(ffi::ThreadPool threads, Ints faces, Ints index, Floats barycentrics, Floats cotangent,
                                     ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeAttributes(faces, index, barycentrics, cotangent, out, &t); error.failure()) return error;
  return Guarded("interpolate", [&] { InterpolateAttributes(t, cotangent.typed_data(), out->typed_data(), MakePool(threads)); });
}

}  // namespace
}  // namespace rasterize
}  // namespace ava

#define AVA_FLOATS ava::rasterize::Floats
#define AVA_INTS ava::rasterize::Ints

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRasterize, ava::rasterize::RasterizeImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_INTS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRasterizeGradient, ava::rasterize::RasterizeGradientImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolate, ava::rasterize::InterpolateImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolateBarycentrics, ava::rasterize::InterpolateBarycentricsImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolateAttributes, ava::rasterize::InterpolateAttributesImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>());
