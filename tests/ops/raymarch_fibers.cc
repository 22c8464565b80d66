// The CUDA kernels, compiled for a CPU with fibers/cuda_runtime.h, against the CPU kernel: raymarch_fibers_test.py runs this where there is
// no GPU, scripts/sanitize.sh with sanitizers.
//
//   raymarch_fibers FIRST_SEED SEEDS
//
// Scenes of raymarch_random.h. Images and gradients must agree with the CPU kernel's, and what raymarch_checks.h says must hold,
// whichever threads are ahead.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../ffi/raymarch/cuda/cuda.h"
#include "raymarch_checks.h"

namespace {

using ava::raymarch::CudaBackward;
using ava::raymarch::CudaBackwardScratch;
using ava::raymarch::CudaForward;
using ava::raymarch::CudaForwardScratch;

struct Scratch {
  std::vector<float4> memory;
  // Filled with NaN, or with large numbers; as long as it must be, so that a sanitizer sees a step past its end.
  Scratch(int64_t floats, int way) : memory(floats / 4) { std::memset(memory.data(), way % 2 ? 0x7f : 0xff, floats * 4); }
  float* floats() { return reinterpret_cast<float*>(memory.data()); }
};

void SetWay(int way) {
  const auto order = way == 0 ? fibers::Schedule::kAscending : way == 1 ? fibers::Schedule::kDescending : fibers::Schedule::kShuffled;
  fibers::SetSchedule({order, static_cast<uint32_t>(way)});
}

void Backward(const Inputs& in, const Outputs& forward, int way, Outputs* out) {
  SetWay(way);
  Scratch scratch(CudaBackwardScratch(in.shape), way);
  const Cotangent cotangent = {in.cotangent.data(), forward.saturation.data(), forward.saturation_at.data()};
  if (CudaBackward(MakeScene(in), cotangent, MakeGradient(in, out), scratch.floats(), nullptr) != cudaSuccess) std::abort();
}

Outputs RunCuda(const Inputs& in, int way) {
  Outputs out = MakeOutputs(in);
  SetWay(way);
  Scratch scratch(CudaForwardScratch(in.shape), way);
  const Image image = {out.rgba.data(), out.saturation.data(), out.saturation_at.data()};
  if (CudaForward(MakeScene(in), image, scratch.floats(), nullptr) != cudaSuccess) std::abort();
  Backward(in, out, way, &out);
  return out;
}

// Of the largest of a field.
double GradientError(const Outputs& ours, const Outputs& wanted) {
  double most = 0.0;
  for (size_t field = 0; field < Gradients(ours).size(); ++field) {
    const Array &a = *Gradients(ours)[field], &b = *Gradients(wanted)[field];
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < b.size(); ++i) {
      if (!std::isfinite(a[i])) return INFINITY;
      largest = std::fmax(largest, std::fabs(b[i]));
      error = std::fmax(error, std::fabs(a[i] - b[i]));
    }
    if (error > 0.0) most = std::fmax(most, error / largest);
  }
  return most;
}

}  // namespace

#include <chrono>
#include <algorithm>
int main(int argc, char** argv) {
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) {
    Random random = {std::mt19937(seed)};
    Shape s;
    MakeSizes(&random, &s);
    if (seed % 3 == 0) { s.side = 8; s.warp_side = 0; while (s.primitives > 400) s.primitives /= 4;}
    if (s.side == 8 && s.warp_side == 0 && s.frames * s.primitives >= 24 && s.frames * (s.primitives - 1) < 24) ++s.primitives;
    Inputs in = Fill(&random, s);
    auto t0 = std::chrono::steady_clock::now();
    const Outputs cpu = Run(in, 1);
    auto t1 = std::chrono::steady_clock::now();
    const Outputs first = RunCuda(in, 0);
    auto t2 = std::chrono::steady_clock::now();
    const char* fault = CheckSame(first, RunCuda(in, 1));
    if (!fault) fault = CheckSame(first, RunCuda(in, 2 + seed));
    Outputs g = MakeOutputs(in); Backward(in, cpu, 0, &g);
    std::vector<double> e; int satdiff = 0, sat = 0;
    float dens = 0; for (size_t i = 3; i < in.rgba.size(); i += 4) dens = std::fmax(dens, in.rgba[i]);
    for (int64_t i = 0; i < in.pixels(); ++i) {
      double d = 0; for (int c = 0; c < 4; ++c) d = std::fmax(d, std::fabs(double(cpu.rgba[4 * i + c]) - first.rgba[4 * i + c]));
      e.push_back(d); satdiff += cpu.saturation_at[2 * i] != first.saturation_at[2 * i] || cpu.saturation_at[2 * i + 1] != first.saturation_at[2 * i + 1];
      sat += cpu.saturation_at[2 * i] != INT32_MAX;
    }
    std::sort(e.begin(), e.end());
    if (!fault) fault = CheckScene(&random, in, first, RunCuda);
    auto t3 = std::chrono::steady_clock::now();
    auto ms = [](auto d) { return std::chrono::duration<double>(d).count() * 1e3; };
    std::printf("%u (%s) dens %.2g: px %.2g %.2g %.2g sat %d of %d, grad %.2g; ms cpu %.0f emu %.0f all %.0f %s\n", seed, Describe(s).c_str(), dens, e[e.size() / 2], e[e.size() * 99 / 100], e.back(), satdiff, sat, GradientError(g, cpu), ms(t1 - t0), ms(t2 - t1), ms(t3 - t0), fault ? fault : "");
    faults += fault != nullptr;
    std::fflush(stdout);
  }
  std::printf("%d faults\n", faults);
}
