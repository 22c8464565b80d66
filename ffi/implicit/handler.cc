#include "handler.h"

#include "../common/guarded.h"
#include "arguments.h"
#include "cpu.h"

namespace ffi = xla::ffi;

namespace ava {
namespace implicit {
namespace {

ffi::Error ValuesImpl(ffi::ThreadPool threads, Floats head, Floats first, Floats second, ffi::AnyBuffer dense, Floats points,
                      ffi::Result<Floats> out) {
  Field f;
  Places p;
  if (ffi::Error error = MakeField(head, first, second, dense, ffi::DataType::F32, &f); error.failure()) return error;
  if (ffi::Error error = PointPlaces(points, out, &p); error.failure()) return error;
  return Guarded("implicit", [&] { Evaluate(f, p, out->typed_data(), MakePool(threads)); });
}

ffi::Error GridImpl(ffi::ThreadPool threads, Floats head, Floats first, Floats second, ffi::AnyBuffer dense, Floats z, Floats y, Floats x,
                    ffi::Result<Floats> out) {
  Field f;
  Places p;
  if (ffi::Error error = MakeField(head, first, second, dense, ffi::DataType::F32, &f); error.failure()) return error;
  if (ffi::Error error = GridPlaces(z, y, x, out, &p); error.failure()) return error;
  return Guarded("implicit", [&] { Evaluate(f, p, out->typed_data(), MakePool(threads)); });
}

}  // namespace
}  // namespace implicit
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    AvaImplicitValues, ava::implicit::ValuesImpl,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().AVA_IMPLICIT_FIELD.Arg<ava::implicit::Floats>().Ret<ava::implicit::Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaImplicitGrid, ava::implicit::GridImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .AVA_IMPLICIT_FIELD.Arg<ava::implicit::Floats>()
                                  .Arg<ava::implicit::Floats>()
                                  .Arg<ava::implicit::Floats>()
                                  .Ret<ava::implicit::Floats>());
