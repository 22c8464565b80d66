// Marching cubes as an XLA FFI custom call on CPUs; arguments.h says what it takes.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaMarching);
