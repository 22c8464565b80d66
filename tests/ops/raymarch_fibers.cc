// The CUDA kernels of the backward pass as raymarch_fibers_test.py compiles them for a CPU, against the CPU kernel.
//
//   raymarch_fibers FIRST_SEED SEEDS
//
// Each seed is three scenes of raymarch_random.h: of side 8 with a warp a primitive, with four, and of any side, with a warp field or
// without. Gradients must agree, and keep every bit whichever lane runs ahead.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../ffi/raymarch/cuda/cuda.h"
#include "raymarch_random.h"

namespace {

constexpr float kBound = 1e-4f;  // of the largest of a field
constexpr int64_t kPrimitives = 40;

Outputs RunCuda(const Inputs& in, const Outputs& cpu, fibers::Order order) {
  const float none = Unwritten();
  Outputs out;
  out.position.assign(in.position.size(), none), out.rotation.assign(in.rotation.size(), none);
  out.scale.assign(in.scale.size(), none), out.voxels.assign(in.rgba.size(), none), out.warp.assign(in.warp.size(), none);
  std::vector<float4> scratch(ava::raymarch::CudaBackwardScratch(in.shape) / 4 + 1, make_float4(NAN, NAN, NAN, NAN));
  fibers::SetOrder(order);
  ava::raymarch::CudaBackward(MakeScene(in), Cotangent{in.cotangent.data(), cpu.saturation.data(), cpu.saturation_at.data()},
                              MakeGradient(in, &out), reinterpret_cast<float*>(scratch.data()), nullptr);
  return out;
}

const char* Compare(const Outputs& ours, const Outputs& wanted) {
  for (size_t field = 0; field < Gradients(ours).size(); ++field) {
    const Array &a = *Gradients(ours)[field], &b = *Gradients(wanted)[field];
    if (AnyUnwritten(a)) return "a gradient left unwritten";
    float largest = 0.0f, error = 0.0f;
    for (size_t i = 0; i < b.size(); ++i) {
      if (!std::isfinite(a[i])) return "a gradient is not finite";
      largest = std::fmax(largest, std::fabs(b[i]));
      error = std::fmax(error, std::fabs(a[i] - b[i]));
    }
    if (!(error <= kBound * largest)) return "a gradient is off";
  }
  return nullptr;
}

const char* Check(const Inputs& in) {
  const Outputs cpu = Run(in, 1), first = RunCuda(in, cpu, fibers::Order::kAscending);
  if (const char* fault = Compare(first, cpu)) return fault;
  for (const fibers::Order order : {fibers::Order::kDescending, fibers::Order::kMixed}) {
    const Outputs again = RunCuda(in, cpu, order);
    for (size_t i = 0; i < Gradients(first).size(); ++i) {
      const Array &a = *Gradients(first)[i], &b = *Gradients(again)[i];
      if (!SameBits(a.data(), b.data(), a.size())) return "another gradient where other lanes run ahead";
    }
  }
  return nullptr;
}

// Rays of one view almost alike: a few cells hold all samples.
void Narrow(Inputs* in) {
  for (int64_t i = 3; i < 3 * in->pixels(); ++i) {
    in->origin[i] = in->origin[i % 3];
    in->direction[i] = in->direction[i % 3] + 0.01f * in->direction[i];
  }
}

// Returns the number of faults, and prints them.
int CheckSeed(uint32_t seed) {
  const char* const kinds[] = {"side 8, a warp a primitive", "side 8, four warps", "any side"};
  int faults = 0;
  for (int kind = 0; kind < 3; ++kind) {
    Random random = {std::mt19937(3 * seed + kind)};
    Shape s;
    MakeSizes(&random, &s);
    if (kind < 2) s.side = 8, s.warp_side = 0;
    s.primitives = 1 + s.primitives % kPrimitives;
    fibers::few_primitives = kind == 0 ? 0 : INT64_MAX;
    Inputs in = Fill(&random, s);
    if (random.Chance(0.3f)) Narrow(&in);
    const char* fault = Check(in);
    if (fault == nullptr) continue;
    ++faults;
    std::printf("seed %u, %s (F %d, N %d, H %d, W %d, K %d, D %d, E %d): %s\n", seed, kinds[kind], int(s.frames), int(s.views),
                int(s.height), int(s.width), int(s.primitives), s.side, s.warp_side, fault);
  }
  return faults;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: raymarch_fibers FIRST_SEED SEEDS\n");
    return 2;
  }
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) faults += CheckSeed(seed);
  std::printf("%u seeds, %d faults\n", count, faults);
  return faults == 0 ? 0 : 1;
}
