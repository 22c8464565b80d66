#include "cpu.h"

#include "../common/instruction_set.h"

namespace ava {
namespace voxels {
namespace {

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

}  // namespace

void Forward(const Layout& l, const Arrays& arrays, const Pool& pool) {
  ParallelFor(pool, l.batch * l.slab / l.side, [&](int64_t row, int) { Chosen().forward(l, arrays, row); });
}

void Backward(const Layout& l, const GradientArrays& arrays, const Pool& pool) {
  ParallelFor(pool, l.batch * l.slab / l.side, [&](int64_t row, int) { Chosen().backward(l, arrays, row); });
}

}  // namespace voxels
}  // namespace ava
