// Marching cubes on CPU threads: slices are counted, then written where their counts place them, so that threads do not change a bit.
#pragma once

#include "../common/parallel.h"
#include "cell.h"

namespace ava {
namespace marching {

void Extract(const Grid& grid, const Mesh& mesh, const Pool& pool);

}  // namespace marching
}  // namespace ava
