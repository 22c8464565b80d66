#include "handler.h"

#include <initializer_list>
#include <string>

#include "../common/check.h"
#include "../common/guarded.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace convolution {
namespace {

using Floats = ffi::Buffer<ffi::F32>;

bool Is(Dims dims, std::initializer_list<int64_t> shape) {
  bool same = dims.size() == shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i) same = dims[i] == shape.begin()[i];
  return same;
}

ffi::Error Misfit(const char* what, Dims dims) {
  return ffi::Error::InvalidArgument(std::string("convolution: ") + what + " has a shape that does not fit: " + ShapeText(dims));
}

const float* OrNull(Floats& buffer) { return buffer.element_count() == 0 ? nullptr : buffer.typed_data(); }

ffi::Error Run(bool gather, ffi::ThreadPool& threads, Floats& in, Floats& sign, Floats& weights, Floats& bias,
               ffi::Result<Floats>& out, bool activate, bool transposed) {
  const Dims from = in.dimensions(), to = out->dimensions();
  if (from.size() != 4) return Misfit("in", from);
  if (to.size() != 4) return Misfit("out", to);
  const int64_t b = from[0], h = from[1], w = from[2], c = from[3], d = to[3];
  if (gather && (h % 2 != 0 || w % 2 != 0)) return Misfit("in", from);
  if (!(gather ? Is(to, {b, h / 2, w / 2, d}) : Is(to, {b, 2 * h, 2 * w, d}))) return Misfit("out", to);
  if (!Is(weights.dimensions(), {4, 4, transposed ? d : c, transposed ? c : d})) return Misfit("weights", weights.dimensions());
  if (OrNull(sign) != nullptr && !Is(sign.dimensions(), {b, h, w, c})) return Misfit("sign", sign.dimensions());
  if (OrNull(bias) != nullptr && !Is(bias.dimensions(), {d})) return Misfit("bias", bias.dimensions());
  if (out->element_count() == 0) return ffi::Error::Success();
  const Convolution call = {b, h, w, c, d, in.typed_data(), OrNull(sign), weights.typed_data(), transposed, OrNull(bias), activate,
                            out->typed_data()};
  return Guarded("convolution", [&] { gather ? Gather(call, MakePool(threads)) : Scatter(call, MakePool(threads)); });
}

ffi::Error GatherImpl(ffi::ThreadPool threads, Floats in, Floats sign, Floats weights, Floats bias, ffi::Result<Floats> out,
                      bool activate, bool transposed) {
  return Run(true, threads, in, sign, weights, bias, out, activate, transposed);
}

ffi::Error ScatterImpl(ffi::ThreadPool threads, Floats in, Floats sign, Floats weights, Floats bias, ffi::Result<Floats> out,
                       bool activate, bool transposed) {
  return Run(false, threads, in, sign, weights, bias, out, activate, transposed);
}

ffi::Error CorrelateImpl(ffi::ThreadPool threads, Floats large, Floats small, Floats sign, ffi::Result<Floats> weights,
                         ffi::Result<Floats> bias, bool cotangent_is_large) {
  const Dims of_large = large.dimensions(), of_small = small.dimensions();
  if (of_small.size() != 4) return Misfit("small", of_small);
  const int64_t b = of_small[0], h = of_small[1], w = of_small[2], s = of_small[3];
  if (of_large.size() != 4 || !Is(of_large, {b, 2 * h, 2 * w, of_large[3]})) return Misfit("large", of_large);
  const int64_t l = of_large[3], c = cotangent_is_large ? s : l, d = cotangent_is_large ? l : s;
  const int64_t scale = cotangent_is_large ? 2 : 1;
  if (OrNull(sign) != nullptr && !Is(sign.dimensions(), {b, scale * h, scale * w, d})) return Misfit("sign", sign.dimensions());
  if (!Is(weights->dimensions(), {4, 4, c, d})) return Misfit("weights", weights->dimensions());
  if (!Is(bias->dimensions(), {d})) return Misfit("bias", bias->dimensions());
  const WeightGradient call = {b, h, w, l, s, large.typed_data(), small.typed_data(), cotangent_is_large, OrNull(sign),
                               weights->typed_data(), bias->typed_data()};
  return Guarded("convolution", [&] { Correlate(call, MakePool(threads)); });
}

// Pixels of [..., channels]; -1 where the last axis is another.
int64_t Pixels(Floats& buffer, int64_t channels) {
  const Dims dims = buffer.dimensions();
  if (dims.size() == 0 || channels < 1 || dims[dims.size() - 1] != channels) return -1;
  return static_cast<int64_t>(buffer.element_count()) / channels;
}

ffi::Error DenseImpl(ffi::ThreadPool threads, Floats in, Floats sign, Floats weights, Floats bias, ffi::Result<Floats> out,
                     bool activate, bool transposed) {
  const Dims shape = weights.dimensions();
  if (shape.size() != 2) return Misfit("weights", shape);
  const int64_t c = shape[transposed ? 1 : 0], d = shape[transposed ? 0 : 1], pixels = Pixels(in, c);
  if (pixels < 0) return Misfit("in", in.dimensions());
  if (Pixels(*out, d) != pixels) return Misfit("out", out->dimensions());
  if (OrNull(sign) != nullptr && Pixels(sign, c) != pixels) return Misfit("sign", sign.dimensions());
  if (OrNull(bias) != nullptr && !Is(bias.dimensions(), {d})) return Misfit("bias", bias.dimensions());
  const Product call = {pixels, c, d, in.typed_data(), OrNull(sign), weights.typed_data(), transposed, OrNull(bias), activate,
                        out->typed_data()};
  return Guarded("dense", [&] { Multiply(call, MakePool(threads)); });
}

ffi::Error DenseGradientImpl(ffi::ThreadPool threads, Floats in, Floats cotangent, Floats sign, ffi::Result<Floats> weights,
                             ffi::Result<Floats> bias) {
  const Dims shape = weights->dimensions();
  if (shape.size() != 2) return Misfit("weights", shape);
  const int64_t c = shape[0], d = shape[1], pixels = Pixels(in, c);
  if (pixels < 0) return Misfit("in", in.dimensions());
  if (Pixels(cotangent, d) != pixels) return Misfit("cotangent", cotangent.dimensions());
  if (OrNull(sign) != nullptr && Pixels(sign, d) != pixels) return Misfit("sign", sign.dimensions());
  if (!Is(bias->dimensions(), {d})) return Misfit("bias", bias->dimensions());
  const ProductGradient call = {pixels, c, d, in.typed_data(), cotangent.typed_data(), OrNull(sign), weights->typed_data(),
                                bias->typed_data()};
  return Guarded("dense", [&] { CorrelateProduct(call, MakePool(threads)); });
}

// What the layers take: images, the sign that their slope follows, weights, bias.
auto OfLayer() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Floats>()
      .Arg<Floats>()
      .Arg<Floats>()
      .Arg<Floats>()
      .Ret<Floats>()
      .Attr<bool>("activate")
      .Attr<bool>("transposed");
}

// What their weights' and bias's gradients follow from: the two images and the sign.
auto OfGradient() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Floats>();
}

}  // namespace
}  // namespace convolution
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaConvolutionGather, ava::convolution::GatherImpl, ava::convolution::OfLayer());
XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaConvolutionScatter, ava::convolution::ScatterImpl, ava::convolution::OfLayer());
XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaConvolutionCorrelate, ava::convolution::CorrelateImpl,
                              ava::convolution::OfGradient().Attr<bool>("cotangent_is_large"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaDense, ava::convolution::DenseImpl, ava::convolution::OfLayer());
XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaDenseGradient, ava::convolution::DenseGradientImpl, ava::convolution::OfGradient());
