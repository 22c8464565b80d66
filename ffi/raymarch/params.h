// What a raymarch is given and what it writes: plain pointers, no XLA and no Python.
//
// Axis letters as in ava_jax/core/types.py: F frames, N views, H W pixels, K primitives, D and G sides of a template and a
// warp field. All arrays are dense, row-major, float32 unless typed otherwise. Lengths in volume radii.
#pragma once

#include <cstdint>

namespace ava {
namespace raymarch {

// Recorded for a ray that never saturates, so that "before saturation" holds for each of its samples.
constexpr int32_t kNever = INT32_MAX;

// A march counts its steps in float32 lanes, which are exact up to here and beyond.
constexpr int32_t kMaxSteps = 1 << 22;

struct Shape {
  int64_t frames, views, height, width, primitives;
  int32_t side;       // D >= 2
  int32_t warp_side;  // G >= 2, or 0 without a warp field
};

struct Scene {
  Shape shape;
  float step_size;
  const float* origin;     // [F, N, H, W, 3]
  const float* direction;  // [F, N, H, W, 3]
  const float* bounds;     // [F, N, H, W, 2]
  const float* position;   // [F, K, 3]
  const float* rotation;   // [F, K, 3, 3], box to head
  const float* scale;      // [F, K, 3], reciprocal half-extents
  const float* rgba;       // [F, K, D, D, D, 4]
  const float* warp;       // [F, K, G, G, G, 3] or null
  const uint16_t* rgba_bfloat16 = nullptr;  // given instead of rgba, which is then null; on CUDA alone
};

struct Image {
  float* rgba;  // [F, N, H, W, 4]
  // Where the ray reached alpha 1, for the backward pass: the colour of that sample and how much of it counted.
  float* saturation;       // [F, N, H, W, 4]
  int32_t* saturation_at;  // [F, N, H, W, 2]: step and primitive, kNever if it did not
};

struct Cotangent {
  const float* rgba;              // [F, N, H, W, 4]
  const float* saturation;        // as in Image
  const int32_t* saturation_at;
};

struct Gradient {
  float* position;
  float* rotation;
  float* scale;
  float* rgba;
  float* warp;  // null without a warp field
  uint16_t* rgba_bfloat16 = nullptr;  // as in Scene
};

}  // namespace raymarch
}  // namespace ava
