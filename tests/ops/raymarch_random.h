// Random scenes for the raymarcher's kernels, without XLA or Python: odd sizes, huge and tiny boxes and densities, rays from anywhere.
// Arrays have exactly their size, so that a sanitizer sees a step past their ends.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../ffi/raymarch/cpu.h"

namespace {

using ava::Pool;
using ava::raymarch::Cotangent;
using ava::raymarch::Gradient;
using ava::raymarch::Image;
using ava::raymarch::Scene;
using ava::raymarch::Shape;
using Array = std::vector<float>;

constexpr float kStep = 0.043f;

struct Inputs {
  Shape shape;
  bool bfloat16 = false;  // rgba is to be read as such, where a raymarcher can
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
    float other[3];
    Unit(random, other);
    for (int j = 0; j < 3; ++j) d[j] = scattered ? other[j] : axis[j] + 0.4f * other[j];
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

// Inputs of that shape.
Inputs Fill(Random* random, const Shape& s) {
  Inputs in;
  in.shape = s;
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

Scene MakeScene(const Inputs& in) {
  return {in.shape, kStep, in.origin.data(), in.direction.data(), in.bounds.data(), in.position.data(),
          in.rotation.data(), in.scale.data(), in.rgba.data(), in.warp.empty() ? nullptr : in.warp.data()};
}

Gradient MakeGradient(const Inputs& in, Outputs* out) {
  return {out->position.data(), out->rotation.data(), out->scale.data(), out->voxels.data(), in.warp.empty() ? nullptr : out->warp.data()};
}

// Of the sizes that the scene asks for, all unwritten.
Outputs MakeOutputs(const Inputs& in) {
  const float none = Unwritten();
  const size_t pixels = in.pixels();
  return {Array(4 * pixels, none), Array(4 * pixels, none), Array(in.position.size(), none), Array(in.rotation.size(), none),
          Array(in.scale.size(), none), Array(in.rgba.size(), none), Array(in.warp.size(), none), std::vector<int32_t>(2 * pixels, -7)};
}

Outputs Run(const Inputs& in, int threads) {
  Outputs out = MakeOutputs(in);
  std::vector<std::thread> helpers;
  Pool pool;
  pool.threads = threads;
  pool.schedule = [&](std::function<void()> task) { helpers.emplace_back(std::move(task)); };
  ava::raymarch::Forward(MakeScene(in), Image{out.rgba.data(), out.saturation.data(), out.saturation_at.data()}, pool);
  ava::raymarch::Backward(MakeScene(in), Cotangent{in.cotangent.data(), out.saturation.data(), out.saturation_at.data()},
                          MakeGradient(in, &out), pool);
  for (std::thread& helper : helpers) helper.join();
  return out;
}

std::vector<const Array*> Gradients(const Outputs& o) { return {&o.position, &o.rotation, &o.scale, &o.voxels, &o.warp}; }

std::string Describe(const Shape& s) {
  const std::pair<char, int64_t> sizes[] = {{'F', s.frames}, {'N', s.views}, {'H', s.height}, {'W', s.width},
                                            {'K', s.primitives}, {'D', s.side}, {'G', s.warp_side}};
  std::string text;
  for (const auto& [letter, size] : sizes) text += (text.empty() ? "" : ", ") + std::string(1, letter) + " " + std::to_string(size);
  return text;
}

}  // namespace
