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

// A row of boxes is one task.
template <class Run>
void ForRows(const Layout& l, const Pool& pool, const Run& run) {
  ParallelFor(pool, l.batch * l.slab / l.side, [&](int64_t task, int) {
    for (int64_t row = task * l.side; row < (task + 1) * l.side; ++row) run(row);
  });
}

}  // namespace

void Forward(const Layout& layout, const Arrays& arrays, const Pool& pool) {
  ForRows(layout, pool, [&](int64_t row) { Chosen().forward(layout, arrays, row); });
}

void Backward(const Layout& layout, const GradientArrays& arrays, const Pool& pool) {
  ForRows(layout, pool, [&](int64_t row) { Chosen().backward(layout, arrays, row); });
}

}  // namespace voxels
}  // namespace ava
