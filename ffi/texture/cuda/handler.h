// Reads of textures on a GPU as XLA FFI custom calls: arguments as ../handler.h has them. `texture_spread` has one more attribute, s64
// `width`, of the rows in which pixels lie, and one more result, f32 scratch of as many bytes as cuda.h says.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureReadCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureLocateCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureSpreadCuda);
