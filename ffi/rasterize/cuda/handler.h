// The rasteriser, interpolation and outlines on a GPU as XLA FFI custom calls: arguments as ../handler.h and ../outline_handler.h have
// them.
// Gradients that are sums, and marks, have one more result: f32 scratch of as many bytes as cuda.h says.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRasterizeCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRasterizeGradientCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolateCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolateBarycentricsCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolateAttributesCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaOutlineMarkCuda);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaOutlineGradientCuda);
