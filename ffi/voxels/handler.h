// Slabs to voxels as XLA FFI custom calls, float32.
//
// voxels: colour [B, S, S, 3 d], log_opacity [B, S, S, d] -> rgba [B, (S / d)^2, d, d, d, 4], relu(scale colour + offset), exp(log_opacity)
// voxels_gradient: rgba, its cotangent -> gradients of colour and log_opacity
// Attributes: scale, offset f32.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaVoxels);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaVoxelsGradient);
