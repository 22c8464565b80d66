#include "handler.h"

#include <string>

#include "../buffers.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace rasterize {
namespace {

using Stream = ffi::PlatformStream<cudaStream_t>;

ffi::Error Report(const char* who, cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string(who) + ": " + cudaGetErrorString(error));
}

ffi::Error CheckScratch(const char* who, ffi::Result<Floats>& scratch, int64_t bytes) {
  if (static_cast<int64_t>(scratch->size_bytes()) >= bytes) return ffi::Error::Success();
  return ffi::Error::InvalidArgument(std::string(who) + ": result scratch must have " + std::to_string(bytes) + " bytes; got " +
                                     std::to_string(scratch->size_bytes()));
}

ffi::Error RasterizeImpl(cudaStream_t stream, Floats vertices, Ints faces, Ints behind_index, Floats behind_depth,
                         ffi::Result<Ints> index, ffi::Result<Floats> barycentrics, ffi::Result<Floats> depth, float low, float high) {
  Drawing d;
  if (ffi::Error unfit = MakeDrawing(vertices, faces, behind_index, behind_depth, index, barycentrics, depth, low, high, &d);
      unfit.failure()) {
    return unfit;
  }
  return Report("rasterize", CudaRasterize(d.scene, d.behind_index, d.behind_depth, d.out, stream));
}

ffi::Error GradientImpl(cudaStream_t stream, Floats vertices, Ints faces, Ints index, Floats d_barycentrics, Floats d_depth,
                        ffi::Result<Floats> d_vertices, ffi::Result<Floats> scratch, float low, float high) {
  Scene s;
  ffi::Error error = MakeGradient(vertices, faces, index, d_barycentrics, d_depth, d_vertices, low, high, &s);
  if (error.success()) error = CheckScratch("rasterize", scratch, CudaGradientScratch(s));
  if (error.failure()) return error;
  return Report("rasterize", CudaRasterizeGradient(s, index.typed_data(), d_barycentrics.typed_data(), d_depth.typed_data(),
                                                   scratch->untyped_data(), d_vertices->typed_data(), stream));
}

ffi::Error InterpolateImpl(cudaStream_t stream, Floats values, Ints faces, Ints index, Floats barycentrics, ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeForward(values, faces, index, barycentrics, out, &t); error.failure()) return error;
  return Report("interpolate", CudaInterpolate(t, out->typed_data(), stream));
}

ffi::Error BarycentricsImpl(cudaStream_t stream, Floats values, Ints faces, Ints index, Floats cotangent, ffi::Result<Floats> out) {
  Interpolation t;
  if (ffi::Error error = MakeBarycentrics(values, faces, index, cotangent, out, &t); error.failure()) return error;
  return Report("interpolate", CudaInterpolateBarycentrics(t, cotangent.typed_data(), out->typed_data(), stream));
}

ffi::Error AttributesImpl(cudaStream_t stream, Ints faces, Ints index, Floats barycentrics, Floats cotangent, ffi::Result<Floats> out,
                          ffi::Result<Floats> scratch) {
  Interpolation t;
  if (ffi::Error error = MakeAttributes(faces, index, barycentrics, cotangent, out, &t); error.failure()) return error;
  if (ffi::Error error = CheckScratch("interpolate", scratch, CudaAttributesScratch(t)); error.failure()) return error;
  return Report("interpolate",
                CudaInterpolateAttributes(t, cotangent.typed_data(), scratch->untyped_data(), out->typed_data(), stream));
}

ffi::Error MarkImpl(cudaStream_t stream, Floats vertices, Ints faces, Ints edges, Ints index, Floats barycentrics, Floats depth,
                    ffi::Result<Bytes> marks, ffi::Result<Floats> scratch, float low, float high) {
  Scene s;
  Outlines o;
  if (ffi::Error error = MakeOutlines(vertices, faces, edges, index, barycentrics, depth, low, high, &s, &o); error.failure()) return error;
  if (!Is(marks->dimensions(), {s.batch, s.height, s.width})) return Unfit("marks must be [B, H, W]", {marks->dimensions()});
  if (ffi::Error error = CheckScratch("outline", scratch, kMarkScratch); error.failure()) return error;
  return Report("outline", CudaMarkOutlines(s, o, scratch->untyped_data(), marks->typed_data(), stream));
}

ffi::Error OutlineGradientImpl(cudaStream_t stream, Floats vertices, Ints faces, Ints edges, Ints index, Floats barycentrics, Floats depth,
                               Bytes marks, Floats image, Floats cotangent, ffi::Result<Floats> d_vertices, ffi::Result<Floats> scratch,
                               float low, float high) {
  Scene s;
  Outlines o;
  if (ffi::Error error = MakeOutlines(vertices, faces, edges, index, barycentrics, depth, low, high, &s, &o); error.failure()) return error;
  if (ffi::Error error = AddColours(marks, image, cotangent, d_vertices, s, &o); error.failure()) return error;
  if (ffi::Error error = CheckScratch("outline", scratch, CudaOutlineScratch(s, o.edges)); error.failure()) return error;
  return Report("outline", CudaOutlineGradient(s, o, scratch->untyped_data(), d_vertices->typed_data(), stream));
}

}  // namespace
}  // namespace rasterize
}  // namespace ava

#define AVA_FLOATS ava::rasterize::Floats
#define AVA_INTS ava::rasterize::Ints
#define AVA_FRAGMENTS Arg<AVA_FLOATS>().Arg<AVA_INTS>().Arg<AVA_INTS>().Arg<AVA_INTS>().Arg<AVA_FLOATS>().Arg<AVA_FLOATS>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRasterizeCuda, ava::rasterize::RasterizeImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_INTS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRasterizeGradientCuda, ava::rasterize::GradientImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolateCuda, ava::rasterize::InterpolateImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>(),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolateBarycentricsCuda, ava::rasterize::BarycentricsImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>(),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaInterpolateAttributesCuda, ava::rasterize::AttributesImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_INTS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>(),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaOutlineMarkCuda, ava::rasterize::MarkImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .AVA_FRAGMENTS.Ret<ava::rasterize::Bytes>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaOutlineGradientCuda, ava::rasterize::OutlineGradientImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .AVA_FRAGMENTS.Arg<ava::rasterize::Bytes>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"),
                              {ffi::Traits::kCmdBufferCompatible});
