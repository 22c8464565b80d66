// The inner loops of the raymarcher, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include "../common/lanes.h"

#include "march.h"

#include "sample.inc.h"

#include "forward.inc.h"

#include "backward.inc.h"

namespace ava {
namespace raymarch {

extern const Kernels AVA_KERNELS = {AVA_KERNELS_NAME, ForwardScratchBytes, ForwardBlock, BackwardPrimitive};

}  // namespace raymarch
}  // namespace ava
