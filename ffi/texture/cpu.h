// Reads of textures on CPU threads. Memory beyond inputs and outputs: none. Results do not depend on the number of threads: each texel
// sums its gradient in the order of images and pixels.
#pragma once

#include <cstdint>

#include "../common/parallel.h"
#include "sample.h"

namespace ava {
namespace texture {

// Of textures [batch or 1, texels, channels], at pixels [batch, pixels].
struct Task {
  int64_t batch, texels, channels, pixels;
  bool common;  // one texture for all images
  Levels levels;
  Filter filter;
  Wrap wrap;
  const float* texture;
  const float* uv;
  const float* level;  // null for level 0
  const bool* where;   // null for everywhere
};

void Read(const Task& task, float* out, const Pool& pool);
void Locate(const Task& task, const float* cotangent, float* d_uv, float* d_level, const Pool& pool);
void Spread(const Task& task, const float* cotangent, float* d_texture, const Pool& pool);

}  // namespace texture
}  // namespace ava
