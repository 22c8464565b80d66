// Errors of XLA FFI handlers: which argument, what was required, what came.
#pragma once

#include <initializer_list>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace ava {

using Dims = xla::ffi::Span<const int64_t>;

inline std::string ShapeText(Dims dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

// The last axes of `dims` must be `expected`, and those before them hold `leading` elements.
inline xla::ffi::Error CheckShape(const char* name, Dims dims, int64_t leading, std::initializer_list<int64_t> expected) {
  bool fits = dims.size() >= expected.size();
  int64_t before = 1;
  for (size_t i = 0; fits && i < dims.size(); ++i) {
    const size_t axis = i + expected.size();
    if (axis < dims.size()) {
      before *= dims[i];
    } else {
      fits = dims[i] == expected.begin()[axis - dims.size()];
    }
  }
  if (fits && before == leading) return xla::ffi::Error::Success();
  std::string text = std::to_string(leading) + " x [";
  for (size_t i = 0; i < expected.size(); ++i) text += (i ? ", " : "") + std::to_string(expected.begin()[i]);
  return xla::ffi::Error::InvalidArgument(std::string("raymarch: ") + name + " must be " + text + "]; got " + ShapeText(dims));
}

}  // namespace ava
