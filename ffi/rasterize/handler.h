// The rasteriser as XLA FFI custom calls. B images of H x W pixels; T triangles.
//
// rasterize: vertices f32 [B, V, 3 or 4], faces s32 [T, 3], behind_index s32, behind_depth f32 (both [B, H, W], or [0] for none)
//   -> index s32 [B, H, W], barycentrics f32 [B, H, W, 3], depth f32 [B, H, W]. Attributes: low, high f32, the depths that are seen.
// rasterize_gradient: vertices, faces, index, d_barycentrics, d_depth -> gradient of vertices. The same attributes.
// interpolate: values f32 [B or 1, A, C], faces s32 [T, 3], index, barycentrics -> [B, H, W, C]
// interpolate_barycentrics: values, faces, index, cotangent [B, H, W, C] -> gradient of barycentrics
// interpolate_attributes: faces, index, barycentrics, cotangent -> gradient of values
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRasterize);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaRasterizeGradient);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolate);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolateBarycentrics);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaInterpolateAttributes);
