#include "cpu.h"

#include "../common/instruction_set.h"

namespace ava {
namespace voxels {
namespace {

const Kernels& Chosen() {
  static const Kernels& kernels = []() -> const Kernels& {
#if defined(AVA_X86)
    const InstructionSet best = BestInstructionSet();
    if (best == InstructionSet::kAvx512) return kAvx512Kernels;
    if (best == InstructionSet::kAvx2) return kAvx2Kernels;
#endif
    return kPortableKernels;
  }();
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
