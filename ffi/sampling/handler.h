// Weighted reads of pixels as XLA FFI custom calls.
//
// read: images f32 [B, Q, C], index s32 [4, P], weights f32 [4, P] -> [B, P, C]
// read_gradient: images, index, weights, cotangent f32 [B, P, C] -> gradients of images and weights
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaSamplingRead);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaSamplingReadGradient);
