#include "outline_handler.h"

#include "../common/guarded.h"
#include "buffers.h"
#include "outline_cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace rasterize {
namespace {

ffi::Error MarkImpl(ffi::ThreadPool threads, Floats vertices, Ints faces, Ints edges, Ints index, Floats barycentrics, Floats depth,
                    ffi::Result<Bytes> marks, float low, float high) {
  Scene s;
  Outlines o;
  ffi::Error error = MakeOutlines(vertices, faces, edges, index, barycentrics, depth, low, high, &s, &o);
  if (error.failure()) return error;
  if (!Is(marks->dimensions(), {s.batch, s.height, s.width})) {
    return ffi::Error::InvalidArgument("outline: marks must be [B, H, W]; got " + ShapeText(marks->dimensions()));
  }
  return Guarded("outline", [&] { MarkOutlines(s, o, marks->typed_data(), MakePool(threads)); });
}

ffi::Error GradientImpl(ffi::ThreadPool threads, Floats vertices, Ints faces, Ints edges, Ints index, Floats barycentrics, Floats depth,
                        Bytes marks, Floats image, Floats cotangent, ffi::Result<Floats> d_vertices, float low, float high) {
  Scene s;
  Outlines o;
  ffi::Error error = MakeOutlines(vertices, faces, edges, index, barycentrics, depth, low, high, &s, &o);
  if (error.failure()) return error;
  error = AddColours(marks, image, cotangent, d_vertices, s, &o);
  if (error.failure()) return error;
  return Guarded("outline", [&] { OutlineGradient(s, o, d_vertices->typed_data(), MakePool(threads)); });
}

}  // namespace
}  // namespace rasterize
}  // namespace ava

#define AVA_FLOATS ava::rasterize::Floats
#define AVA_INTS ava::rasterize::Ints
#define AVA_FRAGMENTS \
  Ctx<ffi::ThreadPool>().Arg<AVA_FLOATS>().Arg<AVA_INTS>().Arg<AVA_INTS>().Arg<AVA_INTS>().Arg<AVA_FLOATS>().Arg<AVA_FLOATS>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaOutlineMark, ava::rasterize::MarkImpl,
                              ffi::Ffi::Bind()
                                  .AVA_FRAGMENTS.Ret<ava::rasterize::Bytes>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaOutlineGradient, ava::rasterize::GradientImpl,
                              ffi::Ffi::Bind()
                                  .AVA_FRAGMENTS.Arg<ava::rasterize::Bytes>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"));
