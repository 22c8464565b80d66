// Implicit functions on CPU threads: blocks of points, for each the elements that count there. Results do not depend on the threads.
#pragma once

#include "../common/parallel.h"
#include "field.h"

namespace ava {
namespace implicit {

void Evaluate(const Field& field, const Places& places, float* out, const Pool& pool);

}  // namespace implicit
}  // namespace ava
