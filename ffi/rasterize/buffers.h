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

}  // namespace rasterize
}  // namespace ava
