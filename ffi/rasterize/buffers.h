// XLA's buffers as scenes, checked: for the handlers of hosts and devices.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "../common/check.h"
#include "scene.h"
#include "xla/ffi/api/ffi.h"

namespace ava {
namespace rasterize {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Ints = xla::ffi::Buffer<xla::ffi::S32>;
using Bytes = xla::ffi::Buffer<xla::ffi::U8>;

inline bool Is(Dims dims, std::initializer_list<int64_t> expected) {
  return dims.size() == expected.size() && std::equal(dims.begin(), dims.end(), expected.begin());
}

inline xla::ffi::Error Unfit(const char* what, std::initializer_list<Dims> got) {
  std::string text = std::string("rasterize: ") + what + "; got ";
  for (const Dims* d = got.begin(); d != got.end(); ++d) text += (d == got.begin() ? "" : ", ") + ShapeText(*d);
  return xla::ffi::Error::InvalidArgument(text);
}

inline xla::ffi::Error MakeScene(Floats& vertices, Ints& faces, Dims image, float low, float high, Scene* scene) {
  const Dims v = vertices.dimensions(), f = faces.dimensions();
  if (v.size() != 3 || (v[2] != 3 && v[2] != 4) || f.size() != 2 || f[1] != 3 || image.size() != 3 || image[0] != v[0]) {
    return Unfit("vertices must be [B, V, 3 or 4], faces [T, 3] and the index [B, H, W]", {v, f, image});
  }
  if (image[1] > INT32_MAX || image[2] > INT32_MAX || f[0] > INT32_MAX || v[1] > INT32_MAX) {
    return Unfit("sizes must fit 32 bits", {v, f, image});
  }
  *scene = {v[0], v[1], f[0], static_cast<int32_t>(v[2]), static_cast<int32_t>(image[1]), static_cast<int32_t>(image[2]),
            low,  high, vertices.typed_data(), faces.typed_data()};
  return xla::ffi::Error::Success();
}

struct Drawing {
  Scene scene;
  const int32_t* behind_index;  // null where nothing was drawn before
  const float* behind_depth;
  Fragments out;
};

inline xla::ffi::Error MakeDrawing(Floats& vertices, Ints& faces, Ints& behind_index, Floats& behind_depth, xla::ffi::Result<Ints>& index,
                                   xla::ffi::Result<Floats>& barycentrics, xla::ffi::Result<Floats>& depth, float low, float high,
                                   Drawing* drawing) {
  Scene& s = drawing->scene;
  if (xla::ffi::Error error = MakeScene(vertices, faces, index->dimensions(), low, high, &s); error.failure()) return error;
  const bool behind = behind_index.element_count() > 0;
  if (!Is(barycentrics->dimensions(), {s.batch, s.height, s.width, 3}) || !Is(depth->dimensions(), {s.batch, s.height, s.width}) ||
      behind_index.element_count() != behind_depth.element_count() ||
      (behind && !Is(behind_index.dimensions(), {s.batch, s.height, s.width}))) {
    return Unfit("results and what lies before must be images of one size",
                 {barycentrics->dimensions(), depth->dimensions(), behind_index.dimensions(), behind_depth.dimensions()});
  }
  drawing->behind_index = behind ? behind_index.typed_data() : nullptr;
  drawing->behind_depth = behind ? behind_depth.typed_data() : nullptr;
  drawing->out = {index->typed_data(), barycentrics->typed_data(), depth->typed_data()};
  return xla::ffi::Error::Success();
}

// Of the gradient of the rasteriser.
inline xla::ffi::Error MakeGradient(Floats& vertices, Ints& faces, Ints& index, Floats& d_barycentrics, Floats& d_depth,
                                    xla::ffi::Result<Floats>& d_vertices, float low, float high, Scene* s) {
  if (xla::ffi::Error error = MakeScene(vertices, faces, index.dimensions(), low, high, s); error.failure()) return error;
  if (!Is(d_barycentrics.dimensions(), {s->batch, s->height, s->width, 3}) || !Is(d_depth.dimensions(), {s->batch, s->height, s->width}) ||
      !Is(d_vertices->dimensions(), {s->batch, s->vertices, s->components})) {
    return Unfit("cotangents must be images as the index is, the gradient as vertices are",
                 {d_barycentrics.dimensions(), d_depth.dimensions(), d_vertices->dimensions()});
  }
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error MakeInterpolation(Dims values, Ints& faces, Ints& index, Interpolation* t) {
  const Dims f = faces.dimensions(), i = index.dimensions();
  if (values.size() != 3 || f.size() != 2 || f[1] != 3 || i.size() != 3 || (values[0] != 1 && values[0] != i[0])) {
    return Unfit("values must be [B or 1, A, C], faces [T, 3] and the index [B, H, W]", {values, f, i});
  }
  *t = {i[0], values[1], values[2], f[0], i[1], i[2], values[0] == 1, nullptr, faces.typed_data(), index.typed_data(), nullptr};
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error CheckImage(const char* what, Dims dims, const Interpolation& t, int64_t channels) {
  if (Is(dims, {t.batch, t.height, t.width, channels})) return xla::ffi::Error::Success();
  return Unfit(what, {dims});
}

inline xla::ffi::Error MakeForward(Floats& values, Ints& faces, Ints& index, Floats& barycentrics, xla::ffi::Result<Floats>& out,
                                   Interpolation* t) {
  if (xla::ffi::Error error = MakeInterpolation(values.dimensions(), faces, index, t); error.failure()) return error;
  t->values = values.typed_data();
  t->barycentrics = barycentrics.typed_data();
  xla::ffi::Error error = CheckImage("barycentrics must be [B, H, W, 3]", barycentrics.dimensions(), *t, 3);
  if (error.failure()) return error;
  return CheckImage("the result must be [B, H, W, C]", out->dimensions(), *t, t->channels);
}

inline xla::ffi::Error MakeBarycentrics(Floats& values, Ints& faces, Ints& index, Floats& cotangent, xla::ffi::Result<Floats>& out,
                                        Interpolation* t) {
  if (xla::ffi::Error error = MakeInterpolation(values.dimensions(), faces, index, t); error.failure()) return error;
  t->values = values.typed_data();
  if (xla::ffi::Error error = CheckImage("the result must be [B, H, W, 3]", out->dimensions(), *t, 3); error.failure()) return error;
  return CheckImage("the cotangent must be [B, H, W, C]", cotangent.dimensions(), *t, t->channels);
}

inline xla::ffi::Error MakeAttributes(Ints& faces, Ints& index, Floats& barycentrics, Floats& cotangent, xla::ffi::Result<Floats>& out,
                                      Interpolation* t) {
  if (xla::ffi::Error error = MakeInterpolation(out->dimensions(), faces, index, t); error.failure()) return error;
  t->barycentrics = barycentrics.typed_data();
  xla::ffi::Error error = CheckImage("barycentrics must be [B, H, W, 3]", barycentrics.dimensions(), *t, 3);
  if (error.failure()) return error;
  return CheckImage("the cotangent must be [B, H, W, C]", cotangent.dimensions(), *t, t->channels);
}

inline xla::ffi::Error MakeOutlines(Floats& vertices, Ints& faces, Ints& edges, Ints& index, Floats& barycentrics, Floats& depth, float low,
                                    float high, Scene* s, Outlines* o) {
  const Dims v = vertices.dimensions(), f = faces.dimensions(), e = edges.dimensions(), i = index.dimensions();
  if (v.size() != 3 || (v[2] != 3 && v[2] != 4) || f.size() != 2 || f[1] != 3 || e.size() != 2 || e[1] != 4 || i.size() != 3 ||
      i[0] != v[0] || i[1] > INT32_MAX || i[2] > INT32_MAX || !Is(barycentrics.dimensions(), {i[0], i[1], i[2], 3}) ||
      !Is(depth.dimensions(), {i[0], i[1], i[2]})) {
    return xla::ffi::Error::InvalidArgument("outline: vertices must be [B, V, 3 or 4], faces [T, 3], edges [E, 4], "
                                            "fragments [B, H, W, ...]; got " +
                                            ShapeText(v) + ", " + ShapeText(f) + ", " + ShapeText(e) + ", " + ShapeText(i));
  }
  *s = {v[0], v[1], f[0], static_cast<int32_t>(v[2]), static_cast<int32_t>(i[1]), static_cast<int32_t>(i[2]), low, high,
        vertices.typed_data(), faces.typed_data()};
  *o = {e[0], 0, edges.typed_data(), index.typed_data(), depth.typed_data(), barycentrics.typed_data(), nullptr, nullptr, nullptr};
  return xla::ffi::Error::Success();
}

// What the gradient of outlines takes beside their scene.
inline xla::ffi::Error AddColours(Bytes& marks, Floats& image, Floats& cotangent, xla::ffi::Result<Floats>& d_vertices, const Scene& s,
                                  Outlines* o) {
  const Dims c = image.dimensions();
  if (c.size() != 4 || !Is(c, {s.batch, s.height, s.width, c[3]}) || !Is(cotangent.dimensions(), {s.batch, s.height, s.width, c[3]}) ||
      !Is(marks.dimensions(), {s.batch, s.height, s.width}) || !Is(d_vertices->dimensions(), {s.batch, s.vertices, s.components})) {
    return xla::ffi::Error::InvalidArgument("outline: image and cotangent must be [B, H, W, C], marks [B, H, W]; got " + ShapeText(c) +
                                            ", " + ShapeText(cotangent.dimensions()) + ", " + ShapeText(marks.dimensions()));
  }
  o->channels = c[3];
  o->marks = marks.typed_data();
  o->image = image.typed_data();
  o->cotangent = cotangent.typed_data();
  return xla::ffi::Error::Success();
}

}  // namespace rasterize
}  // namespace ava
