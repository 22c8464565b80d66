#include "handler.h"

#include <algorithm>
#include <initializer_list>
#include <string>

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
  if (ffi::Error error = MakeScene(vertices, faces, index.dimensions(), low, high, &s); error.failure()) return error;
  if (!Is(d_barycentrics.dimensions(), {s.batch, s.height, s.width, 3}) || !Is(d_depth.dimensions(), {s.batch, s.height, s.width}) ||
      !Is(d_vertices->dimensions(), {s.batch, s.vertices, s.components})) {
    return Unfit("cotangents must be images as the index is, the gradient as vertices are",
                 {d_barycentrics.dimensions(), d_depth.dimensions(), d_vertices->dimensions()});
  }
  return Guarded("rasterize", [&] {
    RasterizeGradient(s, index.typed_data(), d_barycentrics.typed_data(), d_depth.typed_data(), d_vertices->typed_data(),
                      MakePool(threads));
  });
}

ffi::Error MakeInterpolation(Dims values, Ints& faces, Ints& index, Interpolation* t) {
  const Dims f = faces.dimensions(), i = index.dimensions();
  if (values.size() != 3 || f.size() != 2 || f[1] != 3 || i.size() != 3 || (values[0] != 1 && values[0] != i[0])) {
    return Unfit("values must be [B or 1, A, C], faces [T, 3] and the index [B, H, W]", {values, f, i});
  }
  *t = {i[0], values[1], values[2], f[0], i[1], i[2], values[0] == 1, nullptr, faces.typed_data(), index.typed_data(), nullptr};
  return ffi::Error::Success();
}

ffi::Error CheckImage(const char* what, Dims dims, const Interpolation& t, int64_t channels) {
  if (Is(dims, {t.batch, t.height, t.width, channels})) return ffi::Error::Success();
  return Unfit(what, {dims});
}

ffi::Error InterpolateImpl(ffi::ThreadPool threads, Floats values, Ints faces, Ints index, Floats barycentrics, ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeInterpolation(values.dimensions(), faces, index, &t); error.failure()) return error;
  if (ffi::Error error = CheckImage("barycentrics must be [B, H, W, 3]", barycentrics.dimensions(), t, 3); error.failure()) return error;
  if (ffi::Error error = CheckImage("the result must be [B, H, W, C]", out->dimensions(), t, t.channels); error.failure()) return error;
  t.values = values.typed_data();
  t.barycentrics = barycentrics.typed_data();
  return Guarded("interpolate", [&] { Interpolate(t, out->typed_data(), MakePool(threads)); });
}

ffi::Error InterpolateBarycentricsImpl(ffi::ThreadPool threads, Floats values, Ints faces, Ints index, Floats cotangent,
                                       ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeInterpolation(values.dimensions(), faces, index, &t); error.failure()) return error;
  if (ffi::Error error = CheckImage("the result must be [B, H, W, 3]", out->dimensions(), t, 3); error.failure()) return error;
  if (ffi::Error error = CheckImage("the cotangent must be [B, H, W, C]", cotangent.dimensions(), t, t.channels); error.failure()) {
    return error;
  }
  t.values = values.typed_data();
  return Guarded("interpolate",
                 [&] { InterpolateBarycentrics(t, cotangent.typed_data(), out->typed_data(), MakePool(threads)); });
}

ffi::Error InterpolateAttributesImpl(ffi::ThreadPool threads, Ints faces, Ints index, Floats barycentrics, Floats cotangent,
                                     ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeInterpolation(out->dimensions(), faces, index, &t); error.failure()) return error;
  if (ffi::Error error = CheckImage("barycentrics must be [B, H, W, 3]", barycentrics.dimensions(), t, 3); error.failure()) return error;
  if (ffi::Error error = CheckImage("the cotangent must be [B, H, W, C]", cotangent.dimensions(), t, t.channels); error.failure()) {
    return error;
  }
  t.barycentrics = barycentrics.typed_data();
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
