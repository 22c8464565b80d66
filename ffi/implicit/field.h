// A sum of Gaussian elements with decoded details, as ops/implicit/packed.py packs it: all that depends on an element alone is done there.
//
// Of an element at a point, with d = point - centre and l = M d:
//   q = |l|^2, value = constant exp(-q / 2) (one + a . l + sum_n v_n relu(b_n + sum_k W_kn relu(A_k . l + b1_k)))
// counted where q <= limit. Without a decoder the last bracket is 1.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define AVA_IMPLICIT __host__ __device__ __forceinline__
#else
#define AVA_IMPLICIT inline
#endif

namespace ava {
namespace implicit {

constexpr int kWidth = 32;  // of the decoder; narrower ones come filled up with zeros
constexpr int kHead = 20;   // floats per element
enum Head { kCenter = 0, kMatrix = 3, kConstant = 12, kLimit = 13, kAffine = 14, kOne = 17 };

struct Field {
  int64_t elements;
  const float* head;    // [E, kHead]
  const float* first;   // [E, 32, 4]: A_k and b1_k; null without a decoder
  const float* second;  // [E, 32, 2]: b_n, v_n
  const void* dense;    // W: f32 [E, 32 in, 32 out] on a CPU, halves in the order of tensor cores on a GPU
};

// Points on a grid, or anywhere.
struct Places {
  const float* points;     // [count, 3]; null for a grid
  const float *x, *y, *z;  // along the axes
  int64_t count, size_x, size_y, size_z;
};

struct Box {
  float center[3], half[3];
};

// Whether the element counts at no point of the box. Rounding is on the safe side; NaN counts everywhere.
AVA_IMPLICIT bool Misses(const float* head, const Box& box) {
  float least = 0.0f;
  for (int i = 0; i < 3; ++i) {
    float at = 0.0f, reach = 0.0f;
    for (int j = 0; j < 3; ++j) {
      const float m = head[kMatrix + 3 * i + j];
      at += m * (box.center[j] - head[kCenter + j]);
      reach += std::fabs(m) * box.half[j];
    }
    const float away = std::fabs(at) * 0.9999f - reach * 1.0001f;
    least += away > 0.0f ? away * away : 0.0f;
  }
  return least > head[kLimit] * 1.0001f + 1e-6f;
}

}  // namespace implicit
}  // namespace ava
