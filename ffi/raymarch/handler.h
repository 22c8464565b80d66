// The raymarcher as XLA FFI custom calls. Axes before those named are frames: vmap adds some.
//
// forward: origin, direction [..., N, H, W, 3], bounds [..., N, H, W, 2], position [..., K, 3], rotation [..., K, 3, 3],
//   scale [..., K, 3], rgba [..., K, D, D, D, 4] (, warp [..., K, G, G, G, 3])
//   -> rgba, saturation [..., N, H, W, 4], saturation_at s32 [..., N, H, W, 2]
// backward: the same after cotangent [..., N, H, W, 4], saturation, saturation_at
//   -> gradients of position, rotation, scale, rgba (, warp)
// rgba and its gradient are float32 or, on CUDA, bfloat16 both.
// Attribute: step_size f32.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRaymarchForward);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRaymarchBackward);
