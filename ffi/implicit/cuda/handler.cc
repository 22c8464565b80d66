#include "handler.h"

#include "../arguments.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace implicit {
namespace {

ffi::Error Report(cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("implicit: ") + cudaGetErrorString(error));
}

ffi::Error ValuesImpl(cudaStream_t stream, Floats head, Floats first, Floats second, ffi::AnyBuffer dense, Floats points,
                      ffi::Result<Floats> out) {
  Field f;
  Places p;
  if (ffi::Error error = MakeField(head, first, second, dense, ffi::DataType::F16, &f); error.failure()) return error;
  if (ffi::Error error = PointPlaces(points, out, &p); error.failure()) return error;
  return Report(CudaEvaluate(f, p, out->typed_data(), stream));
}

ffi::Error GridImpl(cudaStream_t stream, Floats head, Floats first, Floats second, ffi::AnyBuffer dense, Floats z, Floats y, Floats x,
                    ffi::Result<Floats> out) {
  Field f;
  Places p;
  if (ffi::Error error = MakeField(head, first, second, dense, ffi::DataType::F16, &f); error.failure()) return error;
  if (ffi::Error error = GridPlaces(z, y, x, out, &p); error.failure()) return error;
  return Report(CudaEvaluate(f, p, out->typed_data(), stream));
}

}  // namespace
}  // namespace implicit
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaImplicitValuesCuda, ava::implicit::ValuesImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<cudaStream_t>>()
                                  .AVA_IMPLICIT_FIELD.Arg<ava::implicit::Floats>()
                                  .Ret<ava::implicit::Floats>(),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaImplicitGridCuda, ava::implicit::GridImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<cudaStream_t>>()
                                  .AVA_IMPLICIT_FIELD.Arg<ava::implicit::Floats>()
                                  .Arg<ava::implicit::Floats>()
                                  .Arg<ava::implicit::Floats>()
                                  .Ret<ava::implicit::Floats>(),
                              {ffi::Traits::kCmdBufferCompatible});
