#include "handler.h"

#include <algorithm>
#include <string>

#include "../common/check.h"
#include "../common/guarded.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace sampling {
namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;

bool Same(Dims a, Dims b) { return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()); }

// Reads the shape off the arguments, and checks them and what has the shape of the result.
ffi::Error MakeShape(Floats& images, Ints& index, Floats& weights, Dims points, Shape* shape) {
  const Dims i = images.dimensions(), n = index.dimensions();
  if (i.size() != 3 || n.size() != 2 || n[0] != 4 || !Same(n, weights.dimensions()) || points.size() != 3 || points[0] != i[0] ||
      points[1] != n[1] || points[2] != i[2]) {
    return ffi::Error::InvalidArgument("sampling: images must be [B, Q, C], index and weights [4, P], what was read [B, P, C]; got " +
                                       ShapeText(i) + ", " + ShapeText(n) + ", " + ShapeText(weights.dimensions()) + ", " +
                                       ShapeText(points));
  }
  *shape = {i[0], i[1], i[2], n[1]};
  if (Inside(*shape, index.typed_data())) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("sampling: indices must lie within the " + std::to_string(i[1]) + " pixels");
}

ffi::Error ReadImpl(ffi::ThreadPool threads, Floats images, Ints index, Floats weights, ffi::Result<Floats> out) {
  Shape shape;
  if (ffi::Error error = MakeShape(images, index, weights, out->dimensions(), &shape); error.failure()) return error;
  return Guarded("sampling", [&] {
    Read(shape, images.typed_data(), index.typed_data(), weights.typed_data(), out->typed_data(), MakePool(threads));
  });
}

ffi::Error ReadGradientImpl(ffi::ThreadPool threads, Floats images, Ints index, Floats weights, Floats cotangent,
                            ffi::Result<Floats> d_images, ffi::Result<Floats> d_weights) {
  Shape shape;
  if (ffi::Error error = MakeShape(images, index, weights, cotangent.dimensions(), &shape); error.failure()) return error;
  if (!Same(d_images->dimensions(), images.dimensions()) || !Same(d_weights->dimensions(), weights.dimensions())) {
    return ffi::Error::InvalidArgument("sampling: gradients must have the shapes of images and weights");
  }
  return Guarded("sampling", [&] {
    ReadGradient(shape, images.typed_data(), index.typed_data(), weights.typed_data(), cotangent.typed_data(), d_images->typed_data(),
                 d_weights->typed_data(), MakePool(threads));
  });
}

}  // namespace
}  // namespace sampling
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaSamplingRead, ava::sampling::ReadImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::sampling::Floats>()
                                  .Arg<ava::sampling::Ints>()
                                  .Arg<ava::sampling::Floats>()
                                  .Ret<ava::sampling::Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaSamplingReadGradient, ava::sampling::ReadGradientImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::sampling::Floats>()
                                  .Arg<ava::sampling::Ints>()
                                  .Arg<ava::sampling::Floats>()
                                  .Arg<ava::sampling::Floats>()
                                  .Ret<ava::sampling::Floats>()
                                  .Ret<ava::sampling::Floats>());
