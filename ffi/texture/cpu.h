// Reads of textures on CPU threads. Memory beyond inputs and outputs: none. Results do not depend on the number of threads: each texel
// sums its gradient in the order of images and pixels.
#pragma once

#include <cstdint>

#include "../common/parallel.h"
#include "sample.h"

namespace ava {
namespace texture {

void Read(const Task& task, float* out, const Pool& pool);
void Locate(const Task& task, const float* cotangent, float* d_uv, float* d_level, const Pool& pool);
void Spread(const Task& task, const float* cotangent, float* d_texture, const Pool& pool);

}  // namespace texture
}  // namespace ava
