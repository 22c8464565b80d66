// The CUDA kernels, compiled for a CPU with fibers/cuda_runtime.h, against the CPU kernel: raymarch_fibers_test.py runs this where there is
// no GPU, scripts/sanitize.sh with sanitizers.
//
//   raymarch_fibers FIRST_SEED SEEDS
//
// Each seed is a scene of raymarch_random.h; half of the scenes have templates in bfloat16. Image and gradients must agree with the CPU
// kernel's, and what raymarch_checks.h says must hold, whichever threads are ahead. Prints a number that stands for the bits of all
// images: limits.h must not matter to them.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../ffi/raymarch/cuda/cuda.h"
#include "../../ffi/raymarch/cuda/common/limits.h"
#include "raymarch_checks.h"

namespace {

using ava::raymarch::CudaBackward;
using ava::raymarch::CudaBackwardScratch;
using ava::raymarch::CudaForward;
using ava::raymarch::CudaForwardScratch;
using Halves = std::vector<uint16_t>;  // bfloat16

constexpr uint16_t kUnwrittenHalf = 0x7fde;  // not a number

constexpr double kColourBound = 1e-4 * 255.0;  // of pixels
constexpr double kGradientBound = 1e-4;        // of the largest of a field
constexpr double kRounding = 1.0 / 256;        // to bfloat16, of a number: half of its last digit
constexpr int64_t kManyPrimitives = 400;
constexpr int64_t kMostWork = 30000;  // primitives x pixels: a scene takes a second at most

struct Scratch {
  std::vector<float4> memory;
  // Filled with NaN or large numbers; as long as it must be, so that a sanitizer sees a step past its end.
  Scratch(int64_t floats, int way) : memory(floats / 4) {
    std::memset(static_cast<void*>(memory.data()), way % 2 ? 0x7f : 0xff, memory.size() * sizeof(float4));
  }
  float* floats() { return reinterpret_cast<float*>(memory.data()); }
};

// Lanes, warps and thread blocks in order, in reverse, or shuffled.
void SetWay(int way) {
  const auto order = way == 0 ? fibers::Schedule::kAscending : way == 1 ? fibers::Schedule::kDescending : fibers::Schedule::kShuffled;
  fibers::SetSchedule({order, static_cast<uint32_t>(way)});
}

// The nearest bfloat16 of each, of two as near the even one; as the CPU's own arithmetic has it.
Halves Narrow(const Array& wide) {
  Halves out;
  for (const float& x : wide) {
    const float low = fibers::FromBits<float>(fibers::ToBits(x) & 0xffff0000u);
    const uint32_t lower = static_cast<uint32_t>(fibers::ToBits(low)) >> 16;
    const float high = fibers::FromBits<float>((lower + 1) << 16);
    const double below = std::fabs(double{x} - low), above = std::fabs(double{high} - x);
    out.push_back(static_cast<uint16_t>(std::isfinite(x) && (above < below || (above == below && lower % 2 == 1)) ? lower + 1 : lower));
    if (std::isnan(x)) out.back() = static_cast<uint16_t>(lower | 0x40);
  }
  return out;
}

Array Widen(const Halves& narrow) {
  Array out;
  for (const uint16_t& x : narrow) out.push_back(x == kUnwrittenHalf ? Unwritten() : fibers::FromBits<float>(uint32_t{x} << 16));
  return out;
}

// A scene's templates and their gradient in bfloat16, where it asks for that.
struct Narrowed {
  Halves templates, gradient;
  Scene scene;

  explicit Narrowed(const Inputs& in) : scene(MakeScene(in)) {
    if (!in.bfloat16) return;
    templates = Narrow(in.rgba);
    gradient.assign(in.rgba.size(), kUnwrittenHalf);
    scene.rgba = nullptr, scene.rgba_bfloat16 = templates.data();
  }
};

void Backward(const Inputs& in, const Outputs& forward, int way, Outputs* out) {
  SetWay(way);
  Scratch scratch(CudaBackwardScratch(in.shape), way);
  const Cotangent cotangent = {in.cotangent.data(), forward.saturation.data(), forward.saturation_at.data()};
  Narrowed narrowed(in);
  Gradient gradient = MakeGradient(in, out);
  if (in.bfloat16) gradient.rgba = nullptr, gradient.rgba_bfloat16 = narrowed.gradient.data();
  if (CudaBackward(narrowed.scene, cotangent, gradient, scratch.floats(), nullptr) != cudaSuccess) std::abort();
  if (in.bfloat16) out->voxels = Widen(narrowed.gradient);
}

Outputs RunCuda(const Inputs& in, int way) {
  Outputs out = MakeOutputs(in);
  SetWay(way);
  Scratch scratch(CudaForwardScratch(in.shape), way);
  const Image image = {out.rgba.data(), out.saturation.data(), out.saturation_at.data()};
  const Narrowed narrowed(in);
  if (CudaForward(narrowed.scene, image, scratch.floats(), nullptr) != cudaSuccess) std::abort();
  Backward(in, out, way, &out);
  return out;
}

// Positions are relative to a point on one of the tile's rays.
bool InTile(const Shape& s, int64_t a, int64_t b) {
  const int64_t rows[] = {a / s.width, b / s.width};
  return rows[0] / s.height == rows[1] / s.height && rows[0] % s.height / 4 == rows[1] % s.height / 4 &&
         a % s.width / 8 == b % s.width / 8;
}

bool SameKernels(const Shape& a, const Shape& b) {
  constexpr int64_t kFew = ava::raymarch::kFourWarpPrimitives;
  return a.side != 8 || a.warp_side > 0 || (a.frames * a.primitives < kFew) == (b.frames * b.primitives < kFew);
}

const char* CompareImages(const Inputs& in, const Outputs& ours, const Outputs& expected) {
  float density = 0.0f;
  for (size_t i = 3; i < in.rgba.size(); i += 4) density = std::fmax(density, in.rgba[i]);
  // A sample at a face may be in for the one and out for the other, and there the fade is exp(-8).
  const double face = 255.0 * density * kStep * std::exp(-8.0);
  int64_t at_faces = 0, elsewhere = 0;
  for (int64_t i = 0; i < in.pixels(); ++i) {
    double error = 0.0;
    for (int64_t c = 4 * i; c < 4 * i + 4; ++c) error = std::fmax(error, std::fabs(double{ours.rgba[c]} - expected.rgba[c]));
    if (!(error <= kColourBound + 2.0 * face)) return "a pixel is off";
    at_faces += error > kColourBound;
    elsewhere += !SameBits(&ours.saturation_at[2 * i], &expected.saturation_at[2 * i], 2);
  }
  if (at_faces > 1 + in.pixels() / 200) return "pixels are off";
  if (elsewhere > 1 + in.pixels() / 200) return "rays saturate elsewhere";
  return nullptr;
}

const char* CompareGradients(const Inputs& in, const Outputs& ours, const Outputs& expected) {
  for (size_t field = 0; field < Gradients(ours).size(); ++field) {
    const Array &a = *Gradients(ours)[field], &b = *Gradients(expected)[field];
    const double rounding = in.bfloat16 && Gradients(ours)[field] == &ours.voxels ? kRounding : 0.0;
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < b.size(); ++i) {
      if (!std::isfinite(a[i])) return "a gradient is not finite";
      largest = std::fmax(largest, std::fabs(b[i]));
      error = std::fmax(error, std::fabs(double{a[i]} - b[i]) - rounding * std::fabs(a[i]));
    }
    if (!(error <= kGradientBound * largest)) return "a gradient is off";
  }
  return nullptr;
}

Inputs MakeScene(uint32_t seed, Random* random) {
  Shape s;
  MakeSizes(random, &s);
  if (seed % 2 == 0) s.side = 8, s.warp_side = 0;
  const bool bfloat16 = seed / 2 % 2 == 0;
  if (seed % 8 == 7) {
    s = {1, 1, 1 + random->Below(5), 1 + random->Below(9), kManyPrimitives, 2 + static_cast<int32_t>(random->Below(3)), 0};
    if (random->Chance(0.5f)) s.side = 8;
  } else {
    s.primitives = 1 + (s.primitives - 1) % 130;
  }
  while (s.frames * s.views * s.height * s.width * s.primitives > kMostWork) {
    s.height = (s.height + 1) / 2;
    s.primitives = (s.primitives + 1) / 2;
  }
  Inputs in = Fill(random, s);
  in.bfloat16 = bfloat16;
  // Boxes whose edges are not at right angles.
  const float skew = random->Chance(0.3f) ? 0.5f : 0.0f;
  for (float& r : in.rotation) r += skew * random->Uniform(-1.0f, 1.0f);
  if (!random->Chance(0.3f)) return in;
  // Rays almost alike: a few cells hold all samples.
  for (int64_t i = 3; i < 3 * in.pixels(); ++i) {
    in.origin[i] = in.origin[i % 3];
    in.direction[i] = in.direction[i % 3] + 0.01f * in.direction[i];
  }
  return in;
}

// Templates of numbers that bfloat16 holds give the same bits in either type, but for the rounding of their own gradient.
const char* CompareTypes(const Inputs& in, const Outputs& narrow) {
  Inputs wide_in = in;
  wide_in.bfloat16 = false;
  wide_in.rgba = Widen(Narrow(in.rgba));
  Outputs wide = RunCuda(wide_in, 0);
  wide.voxels = Widen(Narrow(wide.voxels));
  return CheckSame(narrow, wide) == nullptr ? nullptr : "other bits with templates in float32";
}

const char* CheckSeed(const Inputs& in, uint32_t seed, Random* random, const Outputs& first) {
  if (const char* fault = CheckWritten(first)) return fault;
  Inputs held = in;
  if (in.bfloat16) held.rgba = Widen(Narrow(in.rgba));
  const Outputs cpu = Run(held, 1);
  if (const char* fault = CompareImages(in, first, cpu)) return fault;
  Outputs gradients = MakeOutputs(in);
  Backward(in, cpu, 0, &gradients);
  if (const char* fault = CompareGradients(in, gradients, cpu)) return fault;
  if (const char* fault = in.bfloat16 ? CompareTypes(in, first) : nullptr) return fault;
  if (const char* fault = CheckSame(first, RunCuda(in, 1))) return fault;
  if (const char* fault = CheckSame(first, RunCuda(in, 2 + static_cast<int>(seed)))) return fault;
  return CheckScene(random, in, first, {RunCuda, InTile, SameKernels});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: raymarch_fibers FIRST_SEED SEEDS\n");
    return 2;
  }
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  uint64_t images = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) {
    Random random = {std::mt19937(seed)};
    const Inputs in = MakeScene(seed, &random);
    const Outputs first = RunCuda(in, 0);
    for (const float& x : first.rgba) images = images * 1000003 + fibers::ToBits(x);
    const char* fault = CheckSeed(in, seed, &random, first);
    if (fault == nullptr) continue;
    ++faults;
    std::printf("seed %u (%s): %s\n", seed, Describe(in.shape).c_str(), fault);
  }
  std::printf("%u scenes, %d faults, images %016llx\n", count, faults, static_cast<unsigned long long>(images));
  return faults == 0 ? 0 : 1;
}
