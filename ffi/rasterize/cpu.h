// The rasteriser on CPU threads.
//
// Memory beyond inputs and outputs: 40 bytes a vertex and 8 a triangle of the images that are drawn at a time (as many as fit 64 MB, one at
// least). Gradients: for each thread 4 bytes a triangle and about 100 (interpolation: 24 a channel) a pixel of a band of 32 rows; half of
// that again for what the bands found; 8 bytes a number of the gradient of one image. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "../common/parallel.h"
#include "scene.h"

namespace ava {
namespace rasterize {

// `behind_*` [batch, height, width]: draws what lies behind these, where there is anything; null for the nearest.
void Rasterize(const Scene& scene, const int32_t* behind_index, const float* behind_depth, const Fragments& out, const Pool& pool);
void RasterizeGradient(const Scene& scene, const int32_t* index, const float* d_barycentrics, const float* d_depth, float* d_vertices,
                       const Pool& pool);

void Interpolate(const Interpolation& task, float* out, const Pool& pool);
void InterpolateBarycentrics(const Interpolation& task, const float* cotangent, float* d_barycentrics, const Pool& pool);
void InterpolateAttributes(const Interpolation& task, const float* cotangent, float* d_values, const Pool& pool);

}  // namespace rasterize
}  // namespace ava
