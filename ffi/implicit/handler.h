// Implicit functions as XLA FFI custom calls on CPUs; arguments.h says what they take.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaImplicitValues);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaImplicitGrid);
