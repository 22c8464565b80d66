// Outlines on CPU threads, an image a task. Memory beyond inputs and outputs: 40 bytes a vertex and, for gradients, 32 more, of the images
// that threads are working on. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "cpu.h"

namespace ava {
namespace rasterize {

// Bits of outline.h for each pixel.
void MarkOutlines(const Scene& scene, const Outlines& outlines, uint8_t* marks, const Pool& pool);
void OutlineGradient(const Scene& scene, const Outlines& outlines, float* d_vertices, const Pool& pool);

}  // namespace rasterize
}  // namespace ava
