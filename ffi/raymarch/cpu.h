// The raymarcher on CPU threads.
//
// Memory beyond inputs and outputs: forward, 16 bytes per primitive of one frame and, for each thread, 264 bytes per primitive and
// one block of rays (58 kB); backward, 16 bytes per primitive and 57 bytes per ray of one frame, in whole blocks of 32 x 32 rays.
// tests/ops/raymarch_memory.py measures it. Between the passes 24 bytes per ray are kept, as results of the forward call.
// A primitive's gradient is one thread's work, so the backward pass of a few large primitives does not scale with threads.
#pragma once

#include "../common/parallel.h"
#include "params.h"

namespace ava {
namespace raymarch {

// Both throw std::bad_alloc when memory runs out. Results do not depend on the number of threads.
void Forward(const Scene& scene, const Image& image, const Pool& pool);
void Backward(const Scene& scene, const Cotangent& cotangent, const Gradient& gradient, const Pool& pool);

// The instruction set in use: "portable", "avx2" or "avx512". AVA_INSTRUCTION_SET in the environment limits it.
const char* InstructionSetName();

}  // namespace raymarch
}  // namespace ava
