#include "handler.h"

#include "../arguments.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace marching {
namespace {

ffi::Error Impl(cudaStream_t stream, Floats values, Bytes table, ffi::Result<Floats> vertices, ffi::Result<Ints> faces,
                ffi::Result<Ints> counts, ffi::Result<Ints> scratch, float level) {
  Grid g;
  Mesh m;
  if (ffi::Error error = MakeTask(values, table, vertices, faces, counts, level, &g, &m); error.failure()) return error;
  const int64_t needed = CudaScratch(static_cast<int64_t>(values.element_count()));
  if (static_cast<int64_t>(scratch->element_count()) < needed) {
    return ffi::Error::InvalidArgument("marching: result scratch must have " + std::to_string(needed) + " integers; got " +
                                       std::to_string(scratch->element_count()));
  }
  const cudaError_t error = CudaExtract(g, m, scratch->typed_data(), stream);
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("marching: ") + cudaGetErrorString(error));
}

}  // namespace
}  // namespace marching
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaMarchingCuda, ava::marching::Impl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<cudaStream_t>>()
                                  .Arg<ava::marching::Floats>()
                                  .Arg<ava::marching::Bytes>()
                                  .Ret<ava::marching::Floats>()
                                  .Ret<ava::marching::Ints>()
                                  .Ret<ava::marching::Ints>()
                                  .Ret<ava::marching::Ints>()
                                  .Attr<float>("level"),
                              {ffi::Traits::kCmdBufferCompatible});
