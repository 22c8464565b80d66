// The rasteriser on a GPU as an XLA FFI custom call, as ../handler.h has it.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRasterizeCuda);
