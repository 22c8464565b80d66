#include "handler.h"

#include "../common/guarded.h"
#include "arguments.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace marching {
namespace {

ffi::Error Impl(ffi::ThreadPool threads, Floats values, Bytes table, ffi::Result<Floats> vertices, ffi::Result<Ints> faces,
                ffi::Result<Ints> counts, float level) {
  Grid g;
  Mesh m;
  if (ffi::Error error = MakeTask(values, table, vertices, faces, counts, level, &g, &m); error.failure()) return error;
  return Guarded("marching", [&] { Extract(g, m, MakePool(threads)); });
}

}  // namespace
}  // namespace marching
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaMarching, ava::marching::Impl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::marching::Floats>()
                                  .Arg<ava::marching::Bytes>()
                                  .Ret<ava::marching::Floats>()
                                  .Ret<ava::marching::Ints>()
                                  .Ret<ava::marching::Ints>()
                                  .Attr<float>("level"));
