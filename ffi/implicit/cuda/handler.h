// Implicit functions as XLA FFI custom calls on NVIDIA GPUs; ../arguments.h says what they take.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaImplicitValuesCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaImplicitGridCuda);
