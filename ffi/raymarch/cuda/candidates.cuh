// Which primitives a tile's rays may meet, and at which steps.
#pragma once

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kFarStep = 65535;  // of a tile's entry: this step and all after it

struct Candidate {
  int primitive;
  int first, last;  // the tile's samples in the primitive are among the steps first <= n < last
};

// Where a tile's candidates come from: its own entries, or its block's list, or all primitives.
struct Source {
  const TileEntry* entries;  // null unless listed
  const int32_t* list;       // null for all primitives
  int64_t first_primitive;   // of the frame
  int64_t cone;              // the tile, of all frames
  int count;
};

__device__ __forceinline__ Source BlockSource(const Scratch& scratch, const Shape& shape, int64_t frame, int64_t tile, int capacity) {
  const int64_t block = tile / kBlockTileCount;
  const int listed = scratch.list_counts[block];
  const int32_t* list = listed < 0 ? nullptr : scratch.lists + block * capacity;
  return {nullptr, list, frame * shape.primitives, tile, listed < 0 ? static_cast<int>(shape.primitives) : listed};
}

__device__ __forceinline__ int Listed(const Source& source, int i) { return source.list == nullptr ? i : source.list[i]; }

__device__ __forceinline__ Candidate TestCandidate(const Scratch& scratch, const Source& source, const Cone& cone, const Spread& rays,
                                                    int k) {
  Candidate out = {k, 0, 0};
  float nearest, farthest;
  const int64_t at = source.first_primitive + k;
  if (!Touches(cone, scratch.spheres[at], &nearest, &farthest)) return out;
  if (!TouchesBox<true>(cone, rays, LoadPose(scratch, at), &nearest, &farthest)) return out;
  const float first = (nearest - cone.base_max) / cone.step_max , last = (farthest - cone.base_min) / cone.step_min;
  constexpr float kSlack = 0.02f, kRounding = 4e-6f;  // in steps; of what was divided, and in a step's place
  // A NaN bounds nothing.
  out.first = static_cast<int>(fminf(fmaxf(first - fabsf(first) * kRounding + (1.0f - kSlack), 0.0f), static_cast<float>(kMaxSteps)));
  out.last = static_cast<int>(fmaxf(fminf(last + fabsf(last) * kRounding + (1.0f + kSlack), static_cast<float>(kMaxSteps)), 0.0f));
  return out;
}

__device__ __forceinline__ Candidate Fetch(const Scratch& scratch, const Source& source, int i) {
  if (i >= source.count) return {0, 0, 0};
  if (source.entries == nullptr) return TestCandidate(scratch, source, LoadCone(scratch.tiles, source.cone), NoSpread(), Listed(source, i));
  const TileEntry entry = source.entries[i];
  return {entry.primitive, entry.range.x, entry.range.y == kFarStep ? kMaxSteps : entry.range.y};
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
