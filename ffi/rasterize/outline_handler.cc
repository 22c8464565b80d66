#include "outline_handler.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "../common/check.h"
#include "../common/guarded.h"
#include "outline_cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace rasterize {
namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;
using Bytes = ffi::Buffer<ffi::U8>;

bool Is(Dims dims, std::initializer_list<int64_t> expected) {
  return dims.size() == expected.size() && std::equal(dims.begin(), dims.end(), expected.begin());
}

ffi::Error MakeOutlines(Floats& vertices, Ints& faces, Ints& edges, Ints& index, Floats& barycentrics, Floats& depth, float low, float high,
                        Scene* s, Outlines* o) {
  const Dims v = vertices.dimensions(), f = faces.dimensions(), e = edges.dimensions(), i = index.dimensions();
  if (v.size() != 3 || (v[2] != 3 && v[2] != 4) || f.size() != 2 || f[1] != 3 || e.size() != 2 || e[1] != 4 || i.size() != 3 ||
      i[0] != v[0] || i[1] > INT32_MAX || i[2] > INT32_MAX || !Is(barycentrics.dimensions(), {i[0], i[1], i[2], 3}) ||
      !Is(depth.dimensions(), {i[0], i[1], i[2]})) {
    return ffi::Error::InvalidArgument("outline: vertices must be [B, V, 3 or 4], faces [T, 3], edges [E, 4], "
                                       "fragments [B, H, W, ...]; got " +
                                       ShapeText(v) + ", " + ShapeText(f) + ", " + ShapeText(e) + ", " + ShapeText(i));
  }
  *s = {v[0], v[1], f[0], static_cast<int32_t>(v[2]), static_cast<int32_t>(i[1]), static_cast<int32_t>(i[2]), low, high,
        vertices.typed_data(), faces.typed_data()};
  *o = {e[0], 0, edges.typed_data(), index.typed_data(), depth.typed_data(), barycentrics.typed_data(), nullptr, nullptr, nullptr};
  return ffi::Error::Success();
}

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
  const Dims c = image.dimensions();
  if (c.size() != 4 || !Is(c, {s.batch, s.height, s.width, c[3]}) || !Is(cotangent.dimensions(), {s.batch, s.height, s.width, c[3]}) ||
      !Is(marks.dimensions(), {s.batch, s.height, s.width}) || !Is(d_vertices->dimensions(), {s.batch, s.vertices, s.components})) {
    return ffi::Error::InvalidArgument("outline: image and cotangent must be [B, H, W, C], marks [B, H, W]; got " + ShapeText(c) + ", " +
                                       ShapeText(cotangent.dimensions()) + ", " + ShapeText(marks.dimensions()));
  }
  o.channels = c[3];
  o.marks = marks.typed_data();
  o.image = image.typed_data();
  o.cotangent = cotangent.typed_data();
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
