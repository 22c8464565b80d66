// Outlines as XLA FFI custom calls. The arguments of handler.h, and edges s32 [E, 4]: two ends and the other corners of two triangles.
//
// outline_mark: vertices, faces, edges, index, barycentrics, depth -> bits u8 [B, H, W] (outline.h)
// outline_gradient: vertices, faces, edges, index, barycentrics, depth, marks, image [B, H, W, C], cotangent -> gradient of vertices
#pragma once

#include "xla/ffi/api/ffi.h"

XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaOutlineMark);
XLA_FFI_DECLARE_HANDLER_SYMBOL(AvaOutlineGradient);
