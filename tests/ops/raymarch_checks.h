// What must hold of any raymarcher and any scene: every byte is written, the same bits come again, and where one primitive, or one ray,
// gets a NaN, an infinity or an extreme number, what does not meet it keeps every bit: pixels, and gradients of other primitives.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "raymarch_random.h"

namespace {

struct Raymarcher {
  // Image and gradients of a scene; they must not depend on the way: so many threads, or threads in some order.
  std::function<Outputs(const Inputs& in, int way)> run;
  // Whether a bad ray may move the last bits of another pixel.
  std::function<bool(const Shape& shape, int64_t ray, int64_t pixel)> moves = [](const Shape&, int64_t, int64_t) { return false; };
  // Whether the gradients of a primitive have the same bits with so many primitives as with so many others.
  std::function<bool(const Shape& a, const Shape& b)> same_gradients = [](const Shape&, const Shape&) { return true; };
};

std::vector<Array*> Fields(Inputs* in) { return {&in->position, &in->rotation, &in->scale, &in->rgba, &in->warp}; }

const char* CheckSame(const Outputs& a, const Outputs& b) {
  if (!SameBits(a.rgba.data(), b.rgba.data(), a.rgba.size())) return "another image another way";
  if (!SameBits(a.saturation.data(), b.saturation.data(), a.saturation.size()) ||
      !SameBits(a.saturation_at.data(), b.saturation_at.data(), a.saturation_at.size())) {
    return "another saturation another way";
  }
  for (size_t i = 0; i < Gradients(a).size(); ++i) {
    const Array &x = *Gradients(a)[i], &y = *Gradients(b)[i];
    if (!SameBits(x.data(), y.data(), x.size())) return "another gradient another way";
  }
  return nullptr;
}

const char* CheckWritten(const Outputs& o) {
  if (AnyUnwritten(o.rgba) || AnyUnwritten(o.saturation)) return "a pixel left unwritten";
  for (const Array* a : Gradients(o)) {
    if (AnyUnwritten(*a)) return "a gradient left unwritten";
  }
  for (const int32_t at : o.saturation_at) {
    if (at < 0) return "a saturation index left unwritten";
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
Array Cover(const Inputs& in, int64_t k, const Raymarcher& marcher) {
  Inputs alone = Select(in, k, k + 1, false);
  alone.warp.clear(), alone.shape.warp_side = 0;
  for (float& x : alone.rgba) x = 1.0f;
  const Array rgba = marcher.run(alone, 1).rgba;
  Array alpha(in.pixels());
  for (int64_t i = 0; i < in.pixels(); ++i) alpha[i] = rgba[4 * i + 3];
  return alpha;
}

const char* CompareOthers(const Inputs& in, const Outputs& bad, const Outputs& rest, int64_t gone) {
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
const char* CheckPrimitive(Random* random, const Inputs& clean, const Raymarcher& marcher) {
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
  const Array cover = Cover(in, gone, marcher);
  for (int64_t i = 0; i < 4 * in.pixels(); ++i) in.cotangent[i] = cover[i / 4] > 0.0f ? 0.0f : in.cotangent[i];
  const Outputs bad = marcher.run(in, 2);
  if (const char* fault = CheckWritten(bad)) return fault;
  const Inputs without = Select(in, gone, gone + 1, true);
  const Outputs rest = marcher.run(without, 1);
  for (int64_t i = 0; i < in.pixels(); ++i) {
    if (cover[i] > 0.0f) continue;
    if (!SameBits(&bad.rgba[4 * i], &rest.rgba[4 * i], 4)) return "a pixel that the primitive does not cover changed";
  }
  return marcher.same_gradients(in.shape, without.shape) ? CompareOthers(in, bad, rest, gone) : nullptr;
}

// Ruins one ray; other pixels must stay, and so must gradients to which it sends nothing.
const char* CheckRay(Random* random, const Inputs& clean, const Raymarcher& marcher) {
  Inputs before = clean;
  const int64_t ray = random->Below(before.pixels());
  const auto spoilt = [&](int64_t i) { return i == ray || marcher.moves(before.shape, ray, i); };
  for (int64_t i = 0; i < 4 * before.pixels(); ++i) before.cotangent[i] = spoilt(i / 4) ? 0.0f : before.cotangent[i];
  Inputs in = before;
  const int which = static_cast<int>(random->Below(3));
  Array* field = which == 0 ? &in.origin : which == 1 ? &in.direction : &in.bounds;
  const int64_t each = which == 2 ? 2 : 3;
  (*field)[each * ray + random->Below(each)] = Extreme(random);
  const Outputs bad = marcher.run(in, 2), rest = marcher.run(before, 1);
  if (const char* fault = CheckWritten(bad)) return fault;
  for (int64_t i = 0; i < in.pixels(); ++i) {
    if (!spoilt(i) && !SameBits(&bad.rgba[4 * i], &rest.rgba[4 * i], 4)) return "a bad ray changed another pixel";
  }
  for (size_t i = 0; i < Gradients(bad).size(); ++i) {
    const Array &x = *Gradients(bad)[i], &y = *Gradients(rest)[i];
    if (!SameBits(x.data(), y.data(), x.size())) return "a bad ray without cotangent changed a gradient";
  }
  return nullptr;
}

// A fault, or null. Ways are 1 <= way < 8.
const char* CheckScene(Random* random, const Inputs& in, const Outputs& first, const Raymarcher& marcher) {
  if (const char* fault = CheckWritten(first)) return fault;
  if (!Finite(first.rgba.data(), first.rgba.size())) return "a finite scene gave a pixel that is not";
  if (const char* fault = CheckSame(first, marcher.run(in, 1 + static_cast<int>(random->Below(7))))) return fault;
  if (const char* fault = CheckPrimitive(random, in, marcher)) return fault;
  return CheckRay(random, in, marcher);
}

}  // namespace
