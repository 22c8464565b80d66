// Reads of textures as XLA FFI custom calls. Textures f32 [B or 1, Q, C] hold mip levels one after the other; uv f32 [B, P, 2];
// level f32 [B, P] or [0]; where bool [B, P] or [0].
//
// texture_read: texture, uv, level, where -> [B, P, C]
// texture_locate: texture, uv, level, where, cotangent [B, P, C] -> gradients of uv and level (as level is)
// texture_spread: uv, level, where, cotangent -> gradient of the texture
// Attributes: sizes s64 [2 levels], height and width of each; filter s32, 0 nearest, 1 bilinear; wrap s32, 0 wrap, 1 clamp, 2 zero.
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureRead);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureLocate);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaTextureSpread);
