// Fibers for cuda_runtime.h, and the forward pass for ctypes.
#include <ucontext.h>

#include <memory>

#include "ffi/raymarch/cuda/cuda.h"

host::Index threadIdx, blockIdx, gridDim;

namespace host {

std::vector<Meeting> warps;
Meeting block;
int threads;

namespace {

constexpr size_t kStack = 1 << 17;

struct Fiber {
  ucontext_t context;
  bool done;
};

std::vector<Fiber> fibers;
std::vector<std::unique_ptr<char[]>> stacks;
ucontext_t scheduler;
const std::function<void()>* running;
int now;

void RunKernel() {
  (*running)();
  fibers[now].done = true;  // and on to the scheduler, by uc_link
}

}  // namespace

void Yield() { swapcontext(&fibers[now].context, &scheduler); }

void Launch(unsigned blocks, int threads_a_block, std::function<void()> kernel) {
  running = &kernel;
  threads = threads_a_block;
  gridDim.x = blocks;
  while (static_cast<int>(stacks.size()) < threads) stacks.emplace_back(new char[kStack]);
  fibers = std::vector<Fiber>(threads);
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    warps.assign((threads + 31) / 32, Meeting());
    block = Meeting();
    for (int i = 0; i < threads; ++i) {
      fibers[i].done = false;
      getcontext(&fibers[i].context);
      fibers[i].context.uc_stack.ss_sp = stacks[i].get();
      fibers[i].context.uc_stack.ss_size = kStack;
      fibers[i].context.uc_link = &scheduler;
      makecontext(&fibers[i].context, RunKernel, 0);
    }
    for (int left = threads; left > 0;) {
      for (now = 0; now < threads; ++now) {
        if (fibers[now].done) continue;
        threadIdx.x = static_cast<unsigned>(now);
        swapcontext(&scheduler, &fibers[now].context);
        left -= fibers[now].done;
      }
    }
  }
}

}  // namespace host

using ava::raymarch::Image;
using ava::raymarch::Scene;
using ava::raymarch::Shape;

// `sizes`: F, N, H, W, K, D.
extern "C" int64_t ScratchFloats(const int64_t* sizes) {
  return ava::raymarch::CudaForwardScratch({sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], static_cast<int32_t>(sizes[5]), 0});
}

extern "C" int Forward(const int64_t* sizes, float step_size, const float* const* arrays, float* rgba, float* saturation,
                       int32_t* saturation_at, float* scratch) {
  const Shape shape = {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], static_cast<int32_t>(sizes[5]), 0};
  const Scene scene = {shape, step_size, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], arrays[5], arrays[6], nullptr};
  return ava::raymarch::CudaForward(scene, {rgba, saturation, saturation_at}, scratch, nullptr);
}
