#include "handler.h"

#include "../arguments.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace texture {
namespace {

ffi::Error Report(cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("texture: ") + cudaGetErrorString(error));
}

ffi::Error ReadImpl(cudaStream_t stream, Floats texture, Floats uv, Floats level, Bools where, ffi::Result<Floats> out, Sizes sizes,
                    int32_t filter, int32_t wrap) {
  Task t;
  if (ffi::Error error = MakeRead(texture, uv, level, where, out, sizes, filter, wrap, &t); error.failure()) return error;
  return Report(CudaRead(t, out->typed_data(), stream));
}

ffi::Error LocateImpl(cudaStream_t stream, Floats texture, Floats uv, Floats level, Bools where, Floats cotangent, ffi::Result<Floats> d_uv,
                      ffi::Result<Floats> d_level, Sizes sizes, int32_t filter, int32_t wrap) {
  Task t;
  ffi::Error error = MakeLocate(texture, uv, level, where, cotangent, d_uv, d_level, sizes, filter, wrap, &t);
  if (error.failure()) return error;
  float* by_level = t.level == nullptr ? nullptr : d_level->typed_data();
  return Report(CudaLocate(t, cotangent.typed_data(), d_uv->typed_data(), by_level, stream));
}

ffi::Error SpreadImpl(cudaStream_t stream, Floats uv, Floats level, Bools where, Floats cotangent, ffi::Result<Floats> d_texture,
                      ffi::Result<Floats> scratch, Sizes sizes, int32_t filter, int32_t wrap, int64_t width) {
  Task t;
  if (ffi::Error error = MakeSpread(uv, level, where, cotangent, d_texture, sizes, filter, wrap, &t); error.failure()) return error;
  if (t.pixels > 0 && (width < 1 || t.pixels % width != 0)) return Unfit("pixels must be whole rows of width " + std::to_string(width));
  const int64_t bytes = CudaSpreadScratch(t, width);
  if (t.texels > kMostTexels || static_cast<int64_t>(scratch->size_bytes()) < bytes) {
    return Unfit("it must have at most " + std::to_string(kMostTexels) + " texels, result scratch " + std::to_string(bytes) +
                 " bytes; got " + std::to_string(t.texels) + " and " + std::to_string(scratch->size_bytes()));
  }
  return Report(CudaSpread(t, width, cotangent.typed_data(), scratch->untyped_data(), d_texture->typed_data(), stream));
}

}  // namespace
}  // namespace texture
}  // namespace ava

#define AVA_FLOATS ava::texture::Floats
#define AVA_STREAM ffi::PlatformStream<cudaStream_t>
#define AVA_TEXTURE_ATTRIBUTES Attr<ffi::Span<const int64_t>>("sizes").Attr<int32_t>("filter").Attr<int32_t>("wrap")

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureReadCuda, ava::texture::ReadImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<AVA_STREAM>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES,
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureLocateCuda, ava::texture::LocateImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<AVA_STREAM>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES,
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureSpreadCuda, ava::texture::SpreadImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<AVA_STREAM>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES.Attr<int64_t>("width"),
                              {ffi::Traits::kCmdBufferCompatible});
