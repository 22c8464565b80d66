#include "handler.h"

#include "../common/guarded.h"
#include "arguments.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace texture {
namespace {

ffi::Error ReadImpl(ffi::ThreadPool threads, Floats texture, Floats uv, Floats level, Bools where, ffi::Result<Floats> out, Sizes sizes,
                    int32_t filter, int32_t wrap) {
  Task t;
  if (ffi::Error error = MakeRead(texture, uv, level, where, out, sizes, filter, wrap, &t); error.failure()) return error;
  return Guarded("texture", [&] { Read(t, out->typed_data(), MakePool(threads)); });
}

ffi::Error LocateImpl(ffi::ThreadPool threads, Floats texture, Floats uv, Floats level, Bools where, Floats cotangent,
                      ffi::Result<Floats> d_uv, ffi::Result<Floats> d_level, Sizes sizes, int32_t filter, int32_t wrap) {
  Task t;
  ffi::Error error = MakeLocate(texture, uv, level, where, cotangent, d_uv, d_level, sizes, filter, wrap, &t);
  if (error.failure()) return error;
  return Guarded("texture", [&] {
    Locate(t, cotangent.typed_data(), d_uv->typed_data(), t.level == nullptr ? nullptr : d_level->typed_data(), MakePool(threads));
  });
}

ffi::Error SpreadImpl(ffi::ThreadPool threads, Floats uv, Floats level, Bools where, Floats cotangent, ffi::Result<Floats> d_texture,
                      Sizes sizes, int32_t filter, int32_t wrap) {
  Task t;
  if (ffi::Error error = MakeSpread(uv, level, where, cotangent, d_texture, sizes, filter, wrap, &t); error.failure()) return error;
  return Guarded("texture", [&] { Spread(t, cotangent.typed_data(), d_texture->typed_data(), MakePool(threads)); });
}

}  // namespace
}  // namespace texture
}  // namespace ava

#define AVA_FLOATS ava::texture::Floats
#define AVA_TEXTURE_ATTRIBUTES Attr<ffi::Span<const int64_t>>("sizes").Attr<int32_t>("filter").Attr<int32_t>("wrap")

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureRead, ava::texture::ReadImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureLocate, ava::texture::LocateImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaTextureSpread, ava::texture::SpreadImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<AVA_FLOATS>()
                                  .Arg<ava::texture::Bools>()
                                  .Arg<AVA_FLOATS>()
                                  .Ret<AVA_FLOATS>()
                                  .AVA_TEXTURE_ATTRIBUTES);
