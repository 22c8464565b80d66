// The forward pass of the CUDA raymarcher, as raymarch_fibers_forward_test.py compiles it for a CPU, for ctypes.
#include <cstdint>

#include "raymarch/cuda/cuda.h"

using ava::raymarch::Scene;
using ava::raymarch::Shape;

namespace {

// `sizes`: F, N, H, W, K, D.
Shape MakeShape(const int64_t* sizes) {
  return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], static_cast<int32_t>(sizes[5]), 0};
}

}  // namespace

extern "C" int64_t ScratchFloats(const int64_t* sizes) { return ava::raymarch::CudaForwardScratch(MakeShape(sizes)); }

// `arrays`: those of Scene, in its order.
extern "C" int Forward(int order, const int64_t* sizes, float step_size, const float* const* arrays, float* rgba, float* saturation,
                       int32_t* saturation_at, float* scratch) {
  const Scene scene = {MakeShape(sizes), step_size, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], arrays[5], arrays[6], nullptr};
  fibers::SetOrder(static_cast<fibers::Order>(order));
  return ava::raymarch::CudaForward(scene, {rgba, saturation, saturation_at}, scratch, nullptr);
}
