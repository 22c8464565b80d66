// Arguments of the custom calls of implicit functions, the same on CPUs and GPUs.
//
// implicit_values: head f32 [E, 20], first f32 [E, 32, 4] or [0], second f32 [E, 32, 2] or [0], dense (of this platform) or [0],
//   points f32 [P, 3] -> f32 [P]
// implicit_grid: head, first, second, dense, z f32 [Z], y f32 [Y], x f32 [X] -> f32 [Z, Y, X]
#pragma once

#include <string>

#include "../common/check.h"
#include "field.h"
#include "xla/ffi/api/ffi.h"

namespace ava {
namespace implicit {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;

inline xla::ffi::Error Unfit(const std::string& what) { return xla::ffi::Error::InvalidArgument("implicit: " + what); }

inline xla::ffi::Error MakeField(Floats& head, Floats& first, Floats& second, xla::ffi::AnyBuffer& dense, xla::ffi::DataType type, Field* f) {
  const Dims h = head.dimensions();
  if (h.size() != 2 || h[1] != kHead) return Unfit("head must be [E, 20]; got " + ShapeText(h));
  const size_t weights = static_cast<size_t>(h[0]) * kWidth * kWidth;
  const bool decoded = first.element_count() > 0;
  // Halves come twice: each weight in two parts.
  const size_t wanted = type == xla::ffi::DataType::F16 ? 2 * weights : weights;
  if (decoded && (first.element_count() != weights / 8 || second.element_count() != weights / 16 || dense.element_count() != wanted ||
                  dense.element_type() != type)) {
    return Unfit("first, second and dense must be the packed layers of " + std::to_string(h[0]) + " elements; got " +
                 ShapeText(first.dimensions()) + ", " + ShapeText(second.dimensions()) + ", " + ShapeText(dense.dimensions()));
  }
  *f = {h[0], head.typed_data(), decoded ? first.typed_data() : nullptr, second.typed_data(), dense.untyped_data()};
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error PointPlaces(Floats& points, xla::ffi::Result<Floats>& out, Places* p) {
  const Dims d = points.dimensions();
  if (d.size() != 2 || d[1] != 3 || out->element_count() != static_cast<size_t>(d[0])) {
    return Unfit("points must be [P, 3] and values [P]; got " + ShapeText(d) + " and " + ShapeText(out->dimensions()));
  }
  *p = {points.typed_data(), nullptr, nullptr, nullptr, d[0], 0, 0, 0};
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error GridPlaces(Floats& z, Floats& y, Floats& x, xla::ffi::Result<Floats>& out, Places* p) {
  const Dims o = out->dimensions();
  const int64_t sizes[3] = {static_cast<int64_t>(z.element_count()), static_cast<int64_t>(y.element_count()),
                            static_cast<int64_t>(x.element_count())};
  if (o.size() != 3 || o[0] != sizes[0] || o[1] != sizes[1] || o[2] != sizes[2]) {
    return Unfit("values must be [Z, Y, X] as the axes are; got " + ShapeText(o));
  }
  *p = {nullptr, x.typed_data(), y.typed_data(), z.typed_data(), sizes[0] * sizes[1] * sizes[2], sizes[2], sizes[1], sizes[0]};
  return xla::ffi::Error::Success();
}

}  // namespace implicit
}  // namespace ava

#define AVA_IMPLICIT_FIELD Arg<ava::implicit::Floats>().Arg<ava::implicit::Floats>().Arg<ava::implicit::Floats>().Arg<ffi::AnyBuffer>()
