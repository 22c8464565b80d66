// Slabs of colours and of opacities' logarithms to voxels, and back, on CPU threads. Memory beyond inputs and outputs: none.
#pragma once

#include "../common/parallel.h"
#include "kernel.h"

namespace ava {
namespace voxels {

void Forward(const Layout& layout, const Arrays& arrays, const Pool& pool);
void Backward(const Layout& layout, const GradientArrays& arrays, const Pool& pool);

}  // namespace voxels
}  // namespace ava
