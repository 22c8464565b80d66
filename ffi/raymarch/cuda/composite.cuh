// Compositing of a ray's samples.
#pragma once

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kShort = 8;  // steps of the window in which a ray may saturate

struct RayState {
  float4 rgba;
  float4 saturation;
  int step, primitive;
};

// Adds a sample of alpha `alpha` to a sum.
__device__ __forceinline__ void Composite(float4* sum, const float4& sample, float alpha) {
  sum->x += sample.x * alpha;
  sum->y += sample.y * alpha;
  sum->z += sample.z * alpha;
  sum->w += alpha;
}

__device__ __forceinline__ void AddTo(float4* sum, const float4& v) {
  sum->x += v.x, sum->y += v.y, sum->z += v.z, sum->w += v.w;
}

// Composites, sample by sample in order of primitives, the window in which a ray saturates.
struct Saturation {
  float4 total, last_sample;
  float running, last_before, at_step;
  int last_primitive;
  bool reached;

  // Finds the step at which alpha reaches 1, from the sums by step; at_step is -1 if it does not.
  __device__ __forceinline__ Saturation(const float4& rgba, const float (*alpha)[kWarp], int lane, float window) {
    total = rgba;
    last_sample = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    running = rgba.w;
    at_step = -1.0f;
    for (int i = 0; i < kShort && at_step < 0.0f; ++i) {
      const float after = running + alpha[i][lane];
      if (after >= 1.0f) {
        at_step = window + i;
      } else {
        running = after;
      }
    }
    last_before = running;
    last_primitive = kNever;
    reached = false;
  }

  __device__ __forceinline__ void Add(int primitive, float n, const float4& sample) {
    if (n < at_step) {
      Composite(&total, sample, sample.w);
    } else if (n == at_step && !reached) {
      // The sample before this one was not the last of its step.
      if (last_primitive != kNever) Composite(&total, last_sample, last_sample.w);
      last_sample = sample;
      last_primitive = primitive;
      last_before = running;
      running += sample.w;
      reached = running >= 1.0f;
    }
  }

  // If the sum over the step rounds to just below 1 here, its last sample is the one.
  __device__ __forceinline__ void Finish(RayState* state) {
    const float contribution = 1.0f - last_before;
    Composite(&total, last_sample, contribution);
    state->rgba = make_float4(total.x, total.y, total.z, 1.0f);
    state->saturation = make_float4(last_sample.x, last_sample.y, last_sample.z, contribution);
    state->step = static_cast<int>(at_step);
    state->primitive = last_primitive;
  }
};

}  // namespace
}  // namespace raymarch
}  // namespace ava
