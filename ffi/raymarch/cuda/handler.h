// The raymarcher on a GPU as XLA FFI custom calls: as ../handler.h has them, with one more result, f32 scratch, after those of fixed
// number: XLA plans its memory with the rest of the program's, so that calls can be captured into graphs.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRaymarchForwardCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRaymarchBackwardCuda);
