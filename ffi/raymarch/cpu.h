// The raymarcher on CPU threads.
//
// Memory beyond inputs and outputs: forward, 16 bytes a primitive and, for each thread, 296 bytes a primitive and one block of
// rays (68 kB); backward, 16 bytes a primitive and 68 bytes a ray of one frame, rounded up to whole blocks of 32 x 32 rays.
#pragma once

#include "../common/parallel.h"
#include "params.h"

namespace ava {
namespace raymarch {

// Both throw std::bad_alloc when memory runs out. Results do not depend on the number of threads.
void Forward(const Scene& scene, const Image& image, const Pool& pool);
void Backward(const Scene& scene, const Cotangent& cotangent, const Gradient& gradient, const Pool& pool);

// The instruction set in use: "portable", "avx2" or "avx512". AVA_INSTRUCTION_SET in the environment limits it.
const char* InstructionSet();

}  // namespace raymarch
}  // namespace ava
