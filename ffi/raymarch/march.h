// The mathematics of one sample, for host and device: T is a lane type, float (device, scalar) or a SIMD vector (host).
//
// T needs + - * /, and beside it the functions Min, Max, Truncate (towards zero, result a T), Reciprocal and Exp in scope.
// Everything has internal linkage: the host compiles this once per instruction set and must not let the linker merge them.
#pragma once

#if defined(__CUDACC__)
#define AVA_INLINE static __host__ __device__ __forceinline__
#else
#define AVA_INLINE static inline __attribute__((always_inline))
#endif

namespace ava {
namespace raymarch {

// Box coordinates of a point: y = matrix (x - position), inside where all |y| < 1.
struct Pose {
  float position[3];
  float matrix[9];  // diag(scale) rotation^T
};

AVA_INLINE Pose MakePose(const float* position, const float* rotation, const float* scale) {
  Pose pose;
  for (int i = 0; i < 3; ++i) {
    pose.position[i] = position[i];
    for (int j = 0; j < 3; ++j) pose.matrix[3 * i + j] = scale[i] * rotation[3 * j + i];
  }
  return pose;
}

// A ray in the box of a primitive: sample n lies at start + n step.
template <class T>
struct BoxLine {
  T start[3], step[3];
};

template <class T, class M>
AVA_INLINE BoxLine<T> ToBox(const M position[3], const M matrix[9], const T ray_start[3], const T ray_step[3]) {
  const T v0 = ray_start[0] - position[0], v1 = ray_start[1] - position[1], v2 = ray_start[2] - position[2];
  BoxLine<T> line;
  for (int i = 0; i < 3; ++i) {
    line.start[i] = matrix[3 * i] * v0 + matrix[3 * i + 1] * v1 + matrix[3 * i + 2] * v2;
    line.step[i] = matrix[3 * i] * ray_step[0] + matrix[3 * i + 1] * ray_step[1] + matrix[3 * i + 2] * ray_step[2];
  }
  return line;
}

// Steps [first, last) of a ray of `count` steps hold all samples inside the box; those at its faces may or may not be inside,
// so Inside() decides each. A coordinate that is NaN leaves its axis unbounded here.
template <class T>
AVA_INLINE void StepRange(const BoxLine<T>& line, T count, T* first, T* last) {
  const T one = T{} + 1.0f;
  const T slack = T{} + 1e-3f;  // in steps: covers the rounding of the division
  T lo = T{}, hi = count;
  for (int i = 0; i < 3; ++i) {
    const T inverse = Reciprocal(line.step[i]);
    const T a = (-one - line.start[i]) * inverse, b = (one - line.start[i]) * inverse;
    lo = Max(Min(a, b), lo);  // Min and Max return their second argument when the first is NaN
    hi = Min(Max(a, b), hi);
  }
  *first = Truncate(Min(lo, count) + (one - slack));
  *last = Min(Truncate(Max(hi + slack, -one) + one), count);
}

template <class T>
AVA_INLINE auto Inside(const T y[3]) {
  return (y[0] < 1.0f) & (y[0] > -1.0f) & (y[1] < 1.0f) & (y[1] > -1.0f) & (y[2] < 1.0f) & (y[2] > -1.0f);
}

template <class T>
AVA_INLINE T Seventh(T y) {
  const T y2 = y * y;
  const T y3 = y2 * y;
  return y3 * y3 * y;
}

template <class T>
AVA_INLINE T Eighth(T y) {
  const T y2 = y * y;
  const T y4 = y2 * y2;
  return y4 * y4;
}

// Density fades towards the faces by exp(-8 sum |y|^8).
template <class T>
AVA_INLINE T Fade(const T y[3]) {
  return Exp((Eighth(y[0]) + Eighth(y[1]) + Eighth(y[2])) * -8.0f);
}

// d log Fade / dy.
template <class T>
AVA_INLINE T LogFadeGradient(T y) {
  return Seventh(y) * -64.0f;
}

// Lower voxel and weight of the upper one for y in [-1, 1] on an axis of `side` voxels whose outer centres lie at -1 and 1.
template <class T>
AVA_INLINE void VoxelCell(T y, int side, T* cell, T* fraction) {
  const T at = (y + 1.0f) * (0.5f * static_cast<float>(side - 1));
  *cell = Min(Truncate(at), T{} + static_cast<float>(side - 2));
  *fraction = at - *cell;
}

}  // namespace raymarch
}  // namespace ava
