// Random scenes for the CPU raymarcher, without XLA or Python: scripts/sanitize.sh builds this with sanitizers and runs it.
//
//   raymarch_fuzz FIRST_SEED SEEDS
//
// Each seed is a scene of odd sizes, huge and tiny boxes and densities, rays from anywhere. Then one primitive, or one ray, gets
// a NaN, an infinity or an extreme number, and what does not meet it must keep every bit: pixels, and gradients of other primitives.
// Arrays have exactly their size, so that a sanitizer sees a step past their ends.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../ffi/raymarch/cpu.h"

namespace {

using ava::Pool;
using ava::raymarch::Cotangent;
using ava::raymarch::Gradient;
using ava::raymarch::Image;
using ava::raymarch::Shape;
using Array = std::vector<float>;

constexpr float kStep = 0.043f;

struct Inputs {
  Shape shape;
  Array origin, direction, bounds, position, rotation, scale, rgba, warp, cotangent;

  int64_t pixels() const { return shape.frames * shape.views * shape.height * shape.width; }
};

struct Outputs {
  Array rgba, saturation, position, rotation, scale, voxels, warp;
  std::vector<int32_t> saturation_at;
};

struct Random {
  std::mt19937 bits;
  float Uniform(float low, float high) { return low + (high - low) * static_cast<float>(bits() >> 8) * 0x1p-24f; }
  int64_t Below(int64_t n) { return bits() % n; }
  bool Chance(float p) { return Uniform(0.0f, 1.0f) < p; }
  template <int N>
  int Pick(const int (&from)[N]) {
    return from[Below(N)];
  }
};

int64_t Cube(int64_t n) { return n * n * n; }

void Unit(Random* random, float v[3]) {
  float square = 0.0f;
  while (!(square > 0.01f && square < 1.0f)) {
    for (int i = 0; i < 3; ++i) v[i] = random->Uniform(-1.0f, 1.0f);
    square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
  }
  for (int i = 0; i < 3; ++i) v[i] /= std::sqrt(square);
}

void MakeRotation(Random* random, float* r) {
  float a[3], b[3], dot = 0.0f, square = 0.0f;
  Unit(random, a);
  Unit(random, b);
  for (int i = 0; i < 3; ++i) dot += a[i] * b[i];
  for (int i = 0; i < 3; ++i) b[i] -= dot * a[i], square += b[i] * b[i];
  for (int i = 0; i < 3; ++i) b[i] /= std::sqrt(square) + 1e-9f;
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    r[3 * i] = a[i], r[3 * i + 1] = b[i], r[3 * i + 2] = a[j] * b[k] - a[k] * b[j];
  }
}

void MakeSizes(Random* random, Shape* s) {
  const int lengths[] = {1, 1, 2, 3, 5, 7, 8, 9, 13, 17, 31, 32, 33, 41};
  const int counts[] = {1, 1, 2, 3, 7, 8, 9, 17, 63, 64, 65, 130, 1030};
  const int sides[] = {2, 3, 4, 5, 7, 8, 9, 11, 16, 17, 23, 31, 32};
  const int fields[] = {0, 0, 0, 2, 3, 5, 8};
  s->frames = 1 + random->Below(2), s->views = 1 + random->Below(2);
  s->height = random->Pick(lengths), s->width = random->Pick(lengths);
  s->primitives = random->Pick(counts), s->side = random->Pick(sides), s->warp_side = random->Pick(fields);
  while (s->primitives * Cube(s->side) > 200000) s->side = 2 + s->side / 3;  // a scene takes milliseconds
}

void MakeRays(Random* random, Inputs* in) {
  const int64_t per_view = in->shape.height * in->shape.width;
  const bool scattered = random->Chance(0.2f);
  float eye[3], axis[3];
  for (int64_t i = 0; i < in->pixels(); ++i) {
    float* o = &in->origin[3 * i];
    float* d = &in->direction[3 * i];
    if (i % per_view == 0) {
      Unit(random, axis);
      for (int j = 0; j < 3; ++j) eye[j] = -2.5f * axis[j];
    }
    for (int j = 0; j < 3; ++j) o[j] = scattered ? random->Uniform(-1.0f, 1.0f) : eye[j];
    float aside[3];
    Unit(random, aside);
    for (int j = 0; j < 3; ++j) d[j] = scattered ? aside[j] : axis[j] + 0.4f * aside[j];
    if (random->Chance(0.05f)) d[0] = 1.0f, d[1] = d[2] = 0.0f;
    if (i > 0 && random->Chance(0.05f)) {
      for (int j = 0; j < 3; ++j) d[j] = -in->direction[3 * (i - 1) + j];
    }
    in->bounds[2 * i] = random->Uniform(0.0f, 2.0f);
    in->bounds[2 * i + 1] = in->bounds[2 * i] + random->Uniform(-0.5f, 4.0f);
  }
}

void MakePrimitives(Random* random, Inputs* in) {
  const bool extreme = random->Chance(0.3f);
  const float half = 1.5f / std::cbrt(static_cast<float>(in->shape.primitives) + 1.0f);
  const float density = std::pow(10.0f, random->Uniform(-3.0f, 3.0f));
  const int64_t voxels = Cube(in->shape.side);
  for (int64_t k = 0; k < in->shape.frames * in->shape.primitives; ++k) {
    for (int i = 0; i < 3; ++i) in->position[3 * k + i] = random->Uniform(-0.8f, 0.8f);
    MakeRotation(random, &in->rotation[9 * k]);
    for (int i = 0; i < 3; ++i) {
      in->scale[3 * k + i] = 1.0f / (half * random->Uniform(0.5f, 1.5f));
      if (extreme && random->Chance(0.1f)) in->scale[3 * k + i] = std::pow(10.0f, random->Uniform(-30.0f, 30.0f));
    }
    const bool silent = random->Chance(0.1f);
    for (int64_t i = 0; i < voxels; ++i) {
      float* v = &in->rgba[4 * (k * voxels + i)];
      for (int c = 0; c < 3; ++c) v[c] = random->Uniform(0.0f, 255.0f);
      v[3] = silent ? 0.0f : density * random->Uniform(0.0f, 1.0f);
    }
  }
  for (float& u : in->warp) u = random->Uniform(-1.3f, 1.3f);
}

Inputs MakeInputs(Random* random) {
  Inputs in;
  MakeSizes(random, &in.shape);
  const Shape& s = in.shape;
  const int64_t count = s.frames * s.primitives;
  in.origin.resize(3 * in.pixels()), in.direction.resize(3 * in.pixels()), in.bounds.resize(2 * in.pixels());
  in.position.resize(3 * count), in.rotation.resize(9 * count), in.scale.resize(3 * count);
  in.rgba.resize(4 * count * Cube(s.side)), in.warp.resize(3 * count * Cube(s.warp_side));
  in.cotangent.resize(4 * in.pixels());
  MakeRays(random, &in);
  MakePrimitives(random, &in);
  for (float& g : in.cotangent) g = random->Uniform(-1.0f, 1.0f);
  return in;
}

// A NaN of its own, so that what is left unwritten is seen.
float Unwritten() {
  const uint32_t bits = 0x7fdeadbe;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

bool AnyUnwritten(const Array& a) {
  for (const float& x : a) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if (bits == 0x7fdeadbe) return true;
  }
  return false;
}

template <class T>
bool SameBits(const T* a, const T* b, int64_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(T)) == 0;
}

bool Finite(const float* a, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(a[i])) return false;
  }
  return true;
}

Outputs Run(const Inputs& in, int threads) {
  const float none = Unwritten();
  const size_t pixels = in.pixels();
  Outputs out = {Array(4 * pixels, none), Array(4 * pixels, none), Array(in.position.size(), none), Array(in.rotation.size(), none),
                 Array(in.scale.size(), none), Array(in.rgba.size(), none), Array(in.warp.size(), none),
                 std::vector<int32_t>(2 * pixels, -7)};
  std::vector<std::thread> helpers;
  Pool pool;
  pool.threads = threads;
  pool.schedule = [&](std::function<void()> task) { helpers.emplace_back(std::move(task)); };
  const ava::raymarch::Scene scene = {in.shape, kStep, in.origin.data(), in.direction.data(), in.bounds.data(), in.position.data(),
                                      in.rotation.data(), in.scale.data(), in.rgba.data(), in.warp.empty() ? nullptr : in.warp.data()};
  ava::raymarch::Forward(scene, Image{out.rgba.data(), out.saturation.data(), out.saturation_at.data()}, pool);
  ava::raymarch::Backward(scene, Cotangent{in.cotangent.data(), out.saturation.data(), out.saturation_at.data()},
                          Gradient{out.position.data(), out.rotation.data(), out.scale.data(), out.voxels.data(),
                                   in.warp.empty() ? nullptr : out.warp.data()}, pool);
  for (std::thread& helper : helpers) helper.join();
  return out;
}

std::vector<const Array*> Gradients(const Outputs& o) { return {&o.position, &o.rotation, &o.scale, &o.voxels, &o.warp}; }

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
