// Forward pass: primitives are listed for blocks of 32 x 32 pixels, then for tiles of 8 x 4; a warp marches its tile's rays.
#include "cuda.h"
#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kListThreads = 256;
constexpr int kListWarps = kListThreads / kWarp;
constexpr int kChunkWords = 1024;  // of 32 primitives: looked at between two compactions

// Lists the primitives that a block's rays may meet, in order of index.
__global__ void __launch_bounds__(kListThreads) ListPrimitives(Shape shape, Scratch scratch, Grid grid, int capacity) {
  __shared__ uint32_t masks[kChunkWords];
  __shared__ int offsets[kChunkWords];
  __shared__ int warp_sums[kListWarps];
  const int64_t block = blockIdx.x, frame = block / grid.blocks;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Cone cone = LoadCone(scratch.blocks, block);
  if (cone.radius < 0.0f) {
    if (threadIdx.x == 0) scratch.list_counts[block] = 0;
    return;
  }
  const float4* spheres = scratch.spheres + frame * shape.primitives;
  const int count = static_cast<int>(shape.primitives);
  int total = 0;
  for (int chunk = 0; chunk < count; chunk += kChunkWords * kWarp) {
    const int words = min(kChunkWords, (count - chunk + kWarp - 1) / kWarp);
    for (int word = warp; word < words; word += kListWarps) {
      const int k = chunk + word * kWarp + lane;
      float nearest, farthest;
      const bool touches = k < count && Touches(cone, spheres[min(k, count - 1)], &nearest, &farthest);
      const unsigned mask = __ballot_sync(kAllLanes, touches);
      if (lane == 0) masks[word] = mask;
    }
    __syncthreads();
    // Exclusive sums of the words' counts: four words a thread.
    constexpr int kPer = kChunkWords / kListThreads;
    int sums[kPer], sum = 0;
    for (int i = 0; i < kPer; ++i) {
      const int word = threadIdx.x * kPer + i;
      sums[i] = sum;
      sum += word < words ? __popc(masks[word]) : 0;
    }
    int inclusive = sum;
    for (int i = 1; i < kWarp; i *= 2) {
      const int below = __shfl_up_sync(kAllLanes, inclusive, i);
      if (lane >= i) inclusive += below;
    }
    if (lane == kWarp - 1) warp_sums[warp] = inclusive;
    __syncthreads();
    int before = total + inclusive - sum, all = 0;
    for (int i = 0; i < kListWarps; ++i) {
      if (i < warp) before += warp_sums[i];
      all += warp_sums[i];
    }
    for (int i = 0; i < kPer; ++i) offsets[threadIdx.x * kPer + i] = before + sums[i];
    __syncthreads();
    total += all;
    if (total > capacity) break;
    int32_t* list = scratch.lists + block * capacity;
    for (int word = warp; word < words; word += kListWarps) {
      const unsigned mask = masks[word];
      if (mask >> lane & 1) list[offsets[word] + __popc(mask & LanesBelow(lane))] = chunk + word * kWarp + lane;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) scratch.list_counts[block] = total > capacity ? -1 : total;
}

constexpr int kMarchWarps = 4;
constexpr int kTileCapacity = 384;  // primitives listed for a tile; one that meets more looks through its block's

// Steps composited together: within a window only a ray that saturates needs its samples in order.
constexpr int kWindow = 8;

struct Entry {
  int primitive;
  float first, last;  // the tile's samples in the primitive are among the steps first <= n < last
};

struct TileScratch {
  int primitive[kTileCapacity];
  float first[kTileCapacity], last[kTileCapacity];
  float alpha[kWindow][kWarp];  // of the steps of the window, by ray
};

// Where a tile's candidates come from: its own list if they fit, else its block's, else all primitives.
struct Source {
  const TileScratch* tile;  // null unless listed
  const int32_t* list;      // null for all primitives
  const float4* spheres;
  int count;
};

__device__ __forceinline__ Entry TestCandidate(const Source& source, const Cone& cone, int i) {
  Entry entry = {0, 0.0f, 0.0f};
  if (i >= source.count) return entry;
  entry.primitive = source.list == nullptr ? i : source.list[i];
  float nearest, farthest;
  if (!Touches(cone, source.spheres[entry.primitive], &nearest, &farthest)) return entry;
  const float first = (nearest - cone.base_max) / cone.step_max - 1.0f, last = (farthest - cone.base_min) / cone.step_min + 2.0f;
  entry.first = fmaxf(first, 0.0f);  // a NaN bounds nothing
  entry.last = fminf(last, static_cast<float>(kMaxSteps));
  return entry;
}

__device__ __forceinline__ Entry Fetch(const Source& source, const Cone& cone, int i) {
  if (source.tile == nullptr) return TestCandidate(source, cone, i);
  if (i >= source.count) return {0, 0.0f, 0.0f};
  return {source.tile->primitive[i], source.tile->first[i], source.tile->last[i]};
}

// Fills the tile's list; false if it has no room.
__device__ __forceinline__ bool ListForTile(const Source& source, const Cone& cone, int lane, TileScratch* tile, int* count) {
  int kept = 0;
  for (int i = 0; i < source.count; i += kWarp) {
    const Entry entry = TestCandidate(source, cone, i + lane);
    const bool touches = entry.first < entry.last;
    const unsigned mask = __ballot_sync(kAllLanes, touches);
    if (kept + __popc(mask) > kTileCapacity) return false;
    if (touches) {
      const int at = kept + __popc(mask & LanesBelow(lane));
      tile->primitive[at] = entry.primitive;
      tile->first[at] = entry.first;
      tile->last[at] = entry.last;
    }
    kept += __popc(mask);
  }
  __syncwarp();
  *count = kept;
  return true;
}

// Colour and density at y, all |y| < 1.
template <int kSide, bool kHasWarp>
__device__ __forceinline__ float4 ReadSample(const Scene& scene, int64_t at, const float y[3]) {
  const int side = kSide > 0 ? kSide : scene.shape.side;
  const float4* voxels = reinterpret_cast<const float4*>(scene.rgba) + at * (side * side * side);
  if (kHasWarp) {
    const int e = scene.shape.warp_side;
    float u[3];
    ReadWarp(scene.warp + at * (3 * e * e * e), e, PlaceInside(y, e), u);
    return ReadCell(voxels, side, PlaceAnywhere(u, side));
  }
  const Cell cell = PlaceInside(y, side);
  const float fx = cell.fraction[0], fy = cell.fraction[1], fz = cell.fraction[2];
  const float4* lower = voxels + (cell.at[2] * side + cell.at[1]) * side + cell.at[0];
  float4 v[8];
#pragma unroll
  for (int corner = 0; corner < 8; ++corner) {
    v[corner] = __ldg(lower + ((corner >> 2) * side + (corner >> 1 & 1)) * side + (corner & 1));
  }
  const float w1 = fz * fy, w2 = fz - w1, w3 = fy - w1, w4 = 1.0f - fz - w3;  // (1, 1), (1, 0), (0, 1), (0, 0) in z, y
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const float rows[4] = {w4, w3, w2, w1};
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    const float upper = rows[row] * fx;
    AddScaled(&value, v[2 * row], rows[row] - upper);
    AddScaled(&value, v[2 * row + 1], upper);
  }
  return value;
}

struct RayState {
  float4 rgba;
  float4 saturation;
  int step, primitive;
};

// Calls visit(step, colour and alpha of the sample) for the ray's samples in the primitive with from <= step < to, in order.
template <int kSide, bool kHasWarp, class Visit>
__device__ __forceinline__ void ForEachSample(const Scene& scene, const Scratch& scratch, int64_t at, const MarchRay& ray,
                                              float from, float to, Visit visit) {
  const Pose pose = LoadPose(scratch, at);
  const BoxLine<float> line = ToBox(pose.position, pose.matrix, ray.start, ray.step);
  float first, last;
  StepRange(line, ray.count, &first, &last);
  first = fmaxf(first, from);
  last = fminf(last, to);
  for (float n = first; n < last; n += 1.0f) {
    const float y[3] = {line.start[0] + n * line.step[0], line.start[1] + n * line.step[1], line.start[2] + n * line.step[2]};
    if (!Inside(y)) continue;
    float4 sample = ReadSample<kSide, kHasWarp>(scene, at, y);
    sample.w *= Fade(y) * scene.step_size;
    visit(n, sample);
  }
}

// Adds a sample of alpha `alpha` to a sum.
__device__ __forceinline__ void Composite(float4* sum, const float4& sample, float alpha) {
  sum->x += sample.x * alpha;
  sum->y += sample.y * alpha;
  sum->z += sample.z * alpha;
  sum->w += alpha;
}

// Calls visit(primitive) for the tile's candidates with samples in the window, in order of index; returns the first step after
// the window at which one has samples.
template <class Visit>
__device__ __forceinline__ float ForEachInWindow(const Source& source, const Cone& cone, int lane, float window, Visit visit) {
  const float end = window + kWindow;
  float next = INFINITY;
  for (int i = 0; i < source.count; i += kWarp) {
    const Entry entry = Fetch(source, cone, i + lane);
    const bool some = entry.first < entry.last;
    if (some && entry.last > end) next = fminf(next, fmaxf(entry.first, end));
    unsigned mask = __ballot_sync(kAllLanes, some && entry.first < end && entry.last > window);
    while (mask != 0) {
      const int k = __shfl_sync(kAllLanes, entry.primitive, FirstLane(mask));
      mask &= mask - 1;
      visit(k);
    }
  }
  return next;
}

// Composites the window of the rays that may saturate in it: `crossing` says whether this lane's does.
template <int kSide, bool kHasWarp>
__device__ __forceinline__ void Saturate(const Scene& scene, const Scratch& scratch, const Source& source, const Cone& cone,
                                      int lane, int64_t first_primitive, const MarchRay& ray, float window, bool crossing,
                                      const float (*alpha)[kWarp], const float4& sum, RayState* state) {
  // The step at which alpha reaches 1, from the sums by step.
  float before = state->rgba.w, at_step = -1.0f;
  for (int i = 0; i < kWindow && crossing && at_step < 0.0f; ++i) {
    const float after = before + alpha[i][lane];
    if (after >= 1.0f) {
      at_step = window + i;
    } else {
      before = after;
    }
  }
  float4 total = state->rgba, last_sample = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float running = before, last_before = before;
  int last_primitive = kNever;
  bool reached = false;
  ForEachInWindow(source, cone, lane, window, [&](int k) {
    ForEachSample<kSide, kHasWarp>(scene, scratch, first_primitive + k, ray, window, at_step + 1.0f, [&](float n, const float4& sample) {
      if (n < at_step) {
        Composite(&total, sample, sample.w);
      } else if (!reached) {
        // The sample before this one was not the last of its step.
        if (last_primitive != kNever) Composite(&total, last_sample, last_sample.w);
        last_sample = sample;
        last_primitive = k;
        last_before = running;
        running += sample.w;
        reached = running >= 1.0f;
      }
    });
  });
  if (!crossing) return;
  if (at_step < 0.0f) {
    state->rgba.x += sum.x, state->rgba.y += sum.y, state->rgba.z += sum.z, state->rgba.w += sum.w;
    return;
  }
  // If the sum over the step rounds to just below 1 here, its last sample is the one.
  const float contribution = 1.0f - last_before;
  Composite(&total, last_sample, contribution);
  state->rgba = make_float4(total.x, total.y, total.z, 1.0f);
  state->saturation = make_float4(last_sample.x, last_sample.y, last_sample.z, contribution);
  state->step = static_cast<int>(at_step);
  state->primitive = last_primitive;
}

template <int kSide, bool kHasWarp>
__device__ __forceinline__ RayState MarchTile(const Scene& scene, const Scratch& scratch, const Source& source, const Cone& cone,
                                              int lane, int64_t first_primitive, MarchRay ray, float (*alpha)[kWarp]) {
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  RayState state = {zero, zero, kNever, kNever};
  float window = ForEachInWindow(source, cone, lane, -kWindow, [](int) {});
  for (;;) {
    for (int i = 16; i > 0; i /= 2) window = fminf(window, __shfl_xor_sync(kAllLanes, window, i));
    // Windows begin at multiples of their length, so that sums do not depend on the candidates that hold no sample.
    window = floorf(window * (1.0f / kWindow)) * kWindow;
    if (!__any_sync(kAllLanes, window < ray.count)) return state;
    for (int i = 0; i < kWindow; ++i) alpha[i][lane] = 0.0f;
    float4 sum = zero;
    const float next = ForEachInWindow(source, cone, lane, window, [&](int k) {
      ForEachSample<kSide, kHasWarp>(scene, scratch, first_primitive + k, ray, window, window + kWindow,
                                     [&](float n, const float4& sample) {
                                       Composite(&sum, sample, sample.w);
                                       alpha[static_cast<int>(n - window)][lane] += sample.w;
                                     });
    });
    const bool crossing = ray.count > 0.0f && !(state.rgba.w + sum.w < 0.999f);
    if (!crossing) {
      state.rgba.x += sum.x, state.rgba.y += sum.y, state.rgba.z += sum.z, state.rgba.w += sum.w;
    }
    if (__any_sync(kAllLanes, crossing)) {
      Saturate<kSide, kHasWarp>(scene, scratch, source, cone, lane, first_primitive, ray, window, crossing, alpha, sum, &state);
      if (state.step != kNever) ray.count = 0.0f;
    }
    window = next;
  }
}

template <int kSide, bool kHasWarp>
__global__ void __launch_bounds__(kMarchWarps* kWarp) March(Scene scene, Image image, Scratch scratch, Grid grid, int capacity) {
  __shared__ TileScratch shared[kMarchWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kMarchWarps + warp;  // tiles of a frame are a multiple of kMarchWarps
  const int64_t frame = tile / grid.tiles, block = tile / kBlockTileCount;
  const int64_t pixel = PixelIndex(scene.shape, grid, frame, tile % grid.tiles, lane);
  const Cone cone = LoadCone(scratch.tiles, tile);
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  RayState state = {zero, zero, kNever, kNever};
  const int listed = scratch.list_counts[block];
  if (cone.radius >= 0.0f && listed != 0) {
    TileScratch* own = &shared[warp];
    const int64_t first_primitive = frame * scene.shape.primitives;
    Source source = {nullptr, listed < 0 ? nullptr : scratch.lists + block * capacity, scratch.spheres + first_primitive,
                     listed < 0 ? static_cast<int>(scene.shape.primitives) : listed};
    int count;
    if (ListForTile(source, cone, lane, own, &count)) {
      source.tile = own;
      source.count = count;
    }
    state = MarchTile<kSide, kHasWarp>(scene, scratch, source, cone, lane, first_primitive, LoadRay(scene, pixel), own->alpha);
  }
  if (pixel < 0) return;
  reinterpret_cast<float4*>(image.rgba)[pixel] = state.rgba;
  reinterpret_cast<float4*>(image.saturation)[pixel] = state.saturation;
  reinterpret_cast<int2*>(image.saturation_at)[pixel] = make_int2(state.step, state.primitive);
}

Scratch CarveForward(Carver* carver, const Shape& s) {
  const Grid g = MakeGrid(s);
  Scratch out = CarveCommon(carver, s);
  out.list_counts = carver->Take<int32_t>(s.frames * g.blocks);
  out.lists = carver->Take<int32_t>(s.frames * g.blocks * ListCapacity(s));
  return out;
}

}  // namespace

int64_t CudaForwardScratch(const Shape& shape) {
  Carver carver(nullptr);
  CarveForward(&carver, shape);
  return carver.used();
}

cudaError_t CudaForward(const Scene& scene, const Image& image, float* memory, cudaStream_t stream) {
  const Shape& s = scene.shape;
  const Grid grid = MakeGrid(s);
  if (s.frames * grid.tiles == 0) return cudaSuccess;
  Carver carver(memory);
  const Scratch scratch = CarveForward(&carver, s);
  const int capacity = static_cast<int>(ListCapacity(s));
  Prepare(scene, nullptr, scratch, stream);
  ListPrimitives<<<static_cast<unsigned>(s.frames * grid.blocks), kListThreads, 0, stream>>>(s, scratch, grid, capacity);
  const unsigned blocks = static_cast<unsigned>(s.frames * grid.tiles / kMarchWarps);
  constexpr int kThreads = kMarchWarps * kWarp;
  if (scene.warp != nullptr) {
    March<0, true><<<blocks, kThreads, 0, stream>>>(scene, image, scratch, grid, capacity);
  } else if (s.side == 8) {
    March<8, false><<<blocks, kThreads, 0, stream>>>(scene, image, scratch, grid, capacity);
  } else {
    March<0, false><<<blocks, kThreads, 0, stream>>>(scene, image, scratch, grid, capacity);
  }
  return cudaGetLastError();
}

}  // namespace raymarch
}  // namespace ava
