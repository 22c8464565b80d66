// Random scenes for the CPU raymarcher, without XLA or Python: scripts/sanitize.sh builds this with sanitizers and runs it.
//
//   raymarch_fuzz FIRST_SEED SEEDS
//
// Each seed is a scene of raymarch_random.h. Then one primitive, or one ray, gets a NaN, an infinity or an extreme number, and what
// does not meet it must keep every bit: pixels, and gradients of other primitives.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "raymarch_random.h"

namespace {

std::vector<Array*> Fields(Inputs* in) { return {&in->position, &in->rotation, &in->scale, &in->rgba, &in->warp}; }

const char* CheckSame(const Outputs& a, const Outputs& b) {
  if (!SameBits(a.rgba.data(), b.rgba.data(), a.rgba.size())) return "another image with other threads";
  for (size_t i = 0; i < Gradients(a).size(); ++i) {
    const Array &x = *Gradients(a)[i], &y = *Gradients(b)[i];
    if (!SameBits(x.data(), y.data(), x.size())) return "another gradient with other threads";
  }
  return nullptr;
}

const char* CheckWritten(const Outputs& o) {
  if (AnyUnwritten(o.rgba) || AnyUnwritten(o.saturation)) return "a pixel left unwritten";
  for (const Array* a : Gradients(o)) {
    if (AnyUnwritten(*a)) return "a gradient left unwritten";
  }
  for (const int32_t at : o.saturation_at) {
    if (at < 0) return "a place of saturation left unwritten";
  }
  return nullptr;
}

// The scene with the primitives [begin, end) alone, or without them, in all frames.
Inputs Select(const Inputs& in, int64_t begin, int64_t end, bool without) {
  Inputs out = in;
  const int64_t k = in.shape.primitives;
  out.shape.primitives = without ? k - (end - begin) : end - begin;
  for (Array* field : Fields(&out)) {
    const Array all = std::move(*field);
    const int64_t each = static_cast<int64_t>(all.size()) / (in.shape.frames * k);
    Array kept;
    kept.reserve(out.shape.primitives * in.shape.frames * each);
    for (int64_t i = 0; i < in.shape.frames * k; ++i) {
      const bool in_range = i % k >= begin && i % k < end;
      if (in_range != without) kept.insert(kept.end(), all.begin() + i * each, all.begin() + (i + 1) * each);
    }
    *field = std::move(kept);
  }
  return out;
}

// Where primitive k holds a sample: alpha of it alone, grey and dense.
Array Cover(const Inputs& in, int64_t k) {
  Inputs alone = Select(in, k, k + 1, false);
  alone.warp.clear(), alone.shape.warp_side = 0;
  for (float& x : alone.rgba) x = 1.0f;
  const Array rgba = Run(alone, 1).rgba;
  Array alpha(in.pixels());
  for (int64_t i = 0; i < in.pixels(); ++i) alpha[i] = rgba[4 * i + 3];
  return alpha;
}

const char* CompareGradients(const Inputs& in, const Outputs& bad, const Outputs& rest, int64_t gone) {
  const int64_t f = in.shape.frames, k = in.shape.primitives;
  for (size_t field = 0; field < Gradients(bad).size(); ++field) {
    const Array &a = *Gradients(bad)[field], &b = *Gradients(rest)[field];
    const int64_t each = static_cast<int64_t>(a.size()) / (f * k);
    for (int64_t i = 0; i < f * k; ++i) {
      if (i % k == gone) continue;
      const int64_t j = i / k * (k - 1) + i % k - (i % k > gone ? 1 : 0);
      if (!SameBits(a.data() + i * each, b.data() + j * each, each)) return "the gradient of another primitive changed";
      if (!Finite(a.data() + i * each, each)) return "the gradient of another primitive is not finite";
    }
  }
  return nullptr;
}

float Extreme(Random* random) {
  const float values[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-38f, 1e-45f, 0.0f, -0.0f, 1e20f, -1e20f};
  return values[random->Below(sizeof values / sizeof values[0])];
}

// Ruins one primitive; pixels that it does not cover, and through them the other primitives' gradients, must stay as without it.
const char* CheckPrimitive(Random* random, const Inputs& clean) {
  Inputs in = clean;
  const int64_t gone = random->Below(in.shape.primitives);
  const int which = static_cast<int>(random->Below(in.warp.empty() ? 4 : 5));
  Array* field = Fields(&in)[which];
  const int64_t each = static_cast<int64_t>(field->size()) / (in.shape.frames * in.shape.primitives);
  const float value = Extreme(random);
  const bool all = random->Chance(0.5f);
  const int64_t one = random->Below(each);
  for (int64_t f = 0; f < in.shape.frames; ++f) {
    for (int64_t i = 0; i < each; ++i) {
      if (all || i == one) (*field)[(f * in.shape.primitives + gone) * each + i] = value;
    }
  }
  const Array cover = Cover(in, gone);
  for (int64_t i = 0; i < 4 * in.pixels(); ++i) in.cotangent[i] = cover[i / 4] > 0.0f ? 0.0f : in.cotangent[i];
  const Outputs bad = Run(in, 2);
  if (const char* fault = CheckWritten(bad)) return fault;
  const Outputs rest = Run(Select(in, gone, gone + 1, true), 1);
  for (int64_t i = 0; i < in.pixels(); ++i) {
    if (cover[i] > 0.0f) continue;
    if (!SameBits(&bad.rgba[4 * i], &rest.rgba[4 * i], 4)) return "a pixel that the primitive does not cover changed";
  }
  return CompareGradients(in, bad, rest, gone);
}

// Ruins one ray; other pixels must stay, and so must gradients to which it sends nothing.
const char* CheckRay(Random* random, const Inputs& clean) {
  Inputs before = clean;
  const int64_t ray = random->Below(before.pixels());
  for (int i = 0; i < 4; ++i) before.cotangent[4 * ray + i] = 0.0f;
  Inputs in = before;
  const int which = static_cast<int>(random->Below(3));
  Array* field = which == 0 ? &in.origin : which == 1 ? &in.direction : &in.bounds;
  const int64_t each = which == 2 ? 2 : 3;
  (*field)[each * ray + random->Below(each)] = Extreme(random);
  const Outputs bad = Run(in, 2), rest = Run(before, 1);
  if (const char* fault = CheckWritten(bad)) return fault;
  for (int64_t i = 0; i < in.pixels(); ++i) {
    if (i != ray && !SameBits(&bad.rgba[4 * i], &rest.rgba[4 * i], 4)) return "a bad ray changed another pixel";
  }
  for (size_t i = 0; i < Gradients(bad).size(); ++i) {
    const Array &x = *Gradients(bad)[i], &y = *Gradients(rest)[i];
    if (!SameBits(x.data(), y.data(), x.size())) return "a bad ray without cotangent changed a gradient";
  }
  return nullptr;
}

const char* CheckSeed(uint32_t seed, Shape* shape) {
  Random random = {std::mt19937(seed)};
  const Inputs in = MakeInputs(&random);
  *shape = in.shape;
  const Outputs first = Run(in, 1);
  if (const char* fault = CheckWritten(first)) return fault;
  if (!Finite(first.rgba.data(), first.rgba.size())) return "a finite scene gave a pixel that is not";
  if (const char* fault = CheckSame(first, Run(in, 1 + static_cast<int>(random.Below(7))))) return fault;
  if (const char* fault = CheckPrimitive(&random, in)) return fault;
  return CheckRay(&random, in);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: raymarch_fuzz FIRST_SEED SEEDS\n");
    return 2;
  }
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) {
    Shape s;
    const char* fault = CheckSeed(seed, &s);
    if (fault == nullptr) continue;
    ++faults;
    std::printf("seed %u (F %d, N %d, H %d, W %d, K %d, D %d, E %d): %s\n", seed, int(s.frames), int(s.views), int(s.height),
                int(s.width), int(s.primitives), s.side, s.warp_side, fault);
  }
  std::printf("%s: %u scenes, %d faults\n", ava::raymarch::InstructionSet(), count, faults);
  return faults == 0 ? 0 : 1;
}
