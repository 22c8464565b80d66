// The convolutions of cpu.h as XLA FFI custom calls, float32.
//
// gather: in [B, 2 H, 2 W, C], sign (as `in`, or [0]), weights [4, 4, C, C'], bias [C'] or [0] -> out [B, H, W, C']
// scatter: in [B, H, W, C], sign, weights, bias, likewise -> out [B, 2 H, 2 W, C']
//   Attributes: activate, transposed (weights [4, 4, C', C]), bool.
// correlate: large [B, 2 H, 2 W, L], small [B, H, W, S], sign (as the cotangent, or [0])
//   -> weights [4, 4, C, C'] (C: channels of the one that is no cotangent, C': of the cotangent), bias [C']
//   Attribute: cotangent_is_large, bool.
// dense: in [..., C], sign (as `in`, or [0]), weights [C, C'], bias [C'] or [0] -> out [..., C']
//   Attributes: activate, transposed (weights [C', C]), bool.
// dense_gradient: in [..., C], cotangent [..., C'], sign (as the cotangent, or [0]) -> weights [C, C'], bias [C']
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaConvolutionGather);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaConvolutionScatter);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaConvolutionCorrelate);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaDense);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaDenseGradient);
