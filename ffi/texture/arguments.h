// XLA's buffers as reads of textures, checked: for the handlers of hosts and devices.
#pragma once

#include <string>

#include "../common/check.h"
#include "sample.h"
#include "xla/ffi/api/ffi.h"

namespace ava {
namespace texture {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Bools = xla::ffi::Buffer<xla::ffi::PRED>;
using Sizes = xla::ffi::Span<const int64_t>;

inline xla::ffi::Error Unfit(const std::string& what) { return xla::ffi::Error::InvalidArgument("texture: " + what); }

inline xla::ffi::Error MakeLevels(Sizes sizes, Levels* levels, int64_t* texels) {
  levels->count = static_cast<int32_t>(sizes.size() / 2);
  if (levels->count < 1 || levels->count > kMostLevels || sizes.size() % 2) return Unfit("there must be 1 to 16 levels");
  *texels = 0;
  for (int32_t i = 0; i < levels->count; ++i) {
    const int64_t height = sizes[2 * i], width = sizes[2 * i + 1];
    if (height < 1 || width < 1 || height > (1 << 20) || width > (1 << 20)) return Unfit("levels must have 1 to 2^20 rows and columns");
    levels->height[i] = static_cast<int32_t>(height);
    levels->width[i] = static_cast<int32_t>(width);
    levels->first[i] = *texels;
    *texels += height * width;
  }
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error MakeTask(Dims texture, Dims image, Floats& uv, Floats& level, Bools& where, Sizes sizes, int32_t filter,
                                int32_t wrap, Task* t) {
  const Dims u = uv.dimensions();
  int64_t texels = 0;
  if (xla::ffi::Error error = MakeLevels(sizes, &t->levels, &texels); error.failure()) return error;
  if (texture.size() != 3 || u.size() != 3 || u[2] != 2 || image.size() != 3 || image[0] != u[0] || image[1] != u[1] ||
      image[2] != texture[2] || texture[1] != texels || (texture[0] != 1 && texture[0] != u[0])) {
    return Unfit("it must be [B or 1, " + std::to_string(texels) + ", C], uv [B, P, 2], the image [B, P, C]; got " + ShapeText(texture) +
                 ", " + ShapeText(u) + ", " + ShapeText(image));
  }
  const size_t pixels = static_cast<size_t>(u[0] * u[1]);
  if ((level.element_count() != 0 && level.element_count() != pixels) || (where.element_count() != 0 && where.element_count() != pixels)) {
    return Unfit("level and where must be [B, P] as uv is, or empty; got " + ShapeText(level.dimensions()) + ", " +
                 ShapeText(where.dimensions()));
  }
  if (filter < 0 || filter > 1 || wrap < 0 || wrap > 2) return Unfit("there is no such filter or way to wrap");
  t->batch = u[0], t->pixels = u[1], t->texels = texels, t->channels = texture[2], t->common = texture[0] == 1;
  t->filter = static_cast<Filter>(filter), t->wrap = static_cast<Wrap>(wrap);
  t->texture = nullptr;
  t->uv = uv.typed_data();
  t->level = level.element_count() ? level.typed_data() : nullptr;
  t->where = where.element_count() ? where.typed_data() : nullptr;
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error MakeRead(Floats& texture, Floats& uv, Floats& level, Bools& where, xla::ffi::Result<Floats>& out, Sizes sizes,
                                int32_t filter, int32_t wrap, Task* t) {
  xla::ffi::Error error = MakeTask(texture.dimensions(), out->dimensions(), uv, level, where, sizes, filter, wrap, t);
  t->texture = texture.typed_data();
  return error;
}

inline xla::ffi::Error MakeLocate(Floats& texture, Floats& uv, Floats& level, Bools& where, Floats& cotangent,
                                  xla::ffi::Result<Floats>& d_uv, xla::ffi::Result<Floats>& d_level, Sizes sizes, int32_t filter, int32_t wrap,
                                  Task* t) {
  xla::ffi::Error error = MakeTask(texture.dimensions(), cotangent.dimensions(), uv, level, where, sizes, filter, wrap, t);
  if (error.failure()) return error;
  if (d_uv->element_count() != uv.element_count() || d_level->element_count() != level.element_count()) {
    return Unfit("gradients must have the shapes of uv and level; got " + ShapeText(d_uv->dimensions()) + ", " +
                 ShapeText(d_level->dimensions()));
  }
  t->texture = texture.typed_data();
  return error;
}

inline xla::ffi::Error MakeSpread(Floats& uv, Floats& level, Bools& where, Floats& cotangent, xla::ffi::Result<Floats>& d_texture,
                                  Sizes sizes, int32_t filter, int32_t wrap, Task* t) {
  return MakeTask(d_texture->dimensions(), cotangent.dimensions(), uv, level, where, sizes, filter, wrap, t);
}

}  // namespace texture
}  // namespace ava
