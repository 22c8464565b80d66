// Arguments of the custom call `marching`, the same on CPUs and GPUs: values f32 [Z, Y, X], table s8 [256, 16] -> vertices f32 [V, 3],
// faces s32 [F, 3], counts s32 [3]; on a GPU scratch s32 [...] as well. Attribute: level f32.
#pragma once

#include "../common/check.h"
#include "cell.h"
#include "xla/ffi/api/ffi.h"

namespace ava {
namespace marching {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Ints = xla::ffi::Buffer<xla::ffi::S32>;
using Bytes = xla::ffi::Buffer<xla::ffi::S8>;

inline xla::ffi::Error MakeTask(Floats& values, Bytes& table, xla::ffi::Result<Floats>& vertices, xla::ffi::Result<Ints>& faces,
                                xla::ffi::Result<Ints>& counts, float level, Grid* g, Mesh* m) {
  const Dims v = values.dimensions(), vertex = vertices->dimensions(), face = faces->dimensions();
  if (v.size() != 3 || table.element_count() != kTableRows * kTableRow || vertex.size() != 2 || vertex[1] != 3 || face.size() != 2 ||
      face[1] != 3 || counts->element_count() != 3) {
    return xla::ffi::Error::InvalidArgument("marching: values must be [Z, Y, X], the table [256, 16], vertices [V, 3], faces [F, 3], counts " +
                                            ("[3]; got " + ShapeText(v)) + ", " + ShapeText(table.dimensions()) + ", " + ShapeText(vertex) +
                                            ", " + ShapeText(face) + ", " + ShapeText(counts->dimensions()));
  }
  *g = {values.typed_data(), table.typed_data(), v[2], v[1], v[0], level};
  *m = {vertices->typed_data(), faces->typed_data(), counts->typed_data(), vertex[0], face[0]};
  return xla::ffi::Error::Success();
}

}  // namespace marching
}  // namespace ava
