// Forward pass: a warp marches the rays of a tile of 8 x 4 pixels through the primitives listed for its block.
#include "composite.cuh"
#include "cuda.h"
#include "device.cuh"
#include "sample.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kMarchWarps = 4;
constexpr int kMarchBlocks = 4;     // of threads, on a multiprocessor: 128 registers a thread
constexpr int kTileCapacity = 256;  // primitives listed for a tile; one that meets more looks through its block's

// Steps composited together: within a window only a ray that saturates needs its samples in order. Windows are long as long as no
// ray comes near saturation; in a short one the samples are kept, up to kKept a ray.
constexpr int kLong = 32;
constexpr int kKept = 8;
constexpr int kQuiet = 2;  // short windows far from saturation before a long one
constexpr int kFarStep = 65535;  // of a list: this step and all after it

struct Entry {
  int primitive;
  float first, last;  // the tile's samples in the primitive are among the steps first <= n < last
};

struct TileScratch {
  int primitive[kTileCapacity];
  ushort2 range[kTileCapacity];  // first and last
  float alpha[kShort][kWarp];    // of the steps of a short window, by ray
  float4 sample[kKept][kWarp];   // of a short window
  int tag[kKept][kWarp];         // primitive x kShort + step in the window
};

// Where a tile's candidates come from: its own list if they fit, else its block's, else all primitives.
struct Source {
  const TileScratch* tile;  // null unless listed
  const int32_t* list;      // null for all primitives
  int64_t first_primitive;  // of the frame
  int count;
};

__device__ __forceinline__ int Candidate(const Source& source, int i) { return source.list == nullptr ? i : source.list[i]; }

__device__ __forceinline__ Entry TestCandidate(const Scratch& scratch, const Source& source, const Cone& cone, int k) {
  Entry entry = {k, 0.0f, 0.0f};
  float nearest, farthest;
  const int64_t at = source.first_primitive + k;
  if (!Touches(cone, scratch.spheres[at], &nearest, &farthest)) return entry;
  if (!TouchesBox(cone, LoadPose(scratch, at), &nearest, &farthest)) return entry;
  const float first = (nearest - cone.base_max) / cone.step_max - 1.0f, last = (farthest - cone.base_min) / cone.step_min + 2.0f;
  entry.first = fmaxf(floorf(first), 0.0f);  // a NaN bounds nothing
  entry.last = fminf(ceilf(last), static_cast<float>(kMaxSteps));
  return entry;
}

__device__ __forceinline__ Entry Fetch(const Scratch& scratch, const Source& source, const Cone& cone, int i) {
  if (i >= source.count) return {0, 0.0f, 0.0f};
  if (source.tile == nullptr) return TestCandidate(scratch, source, cone, Candidate(source, i));
  const ushort2 range = source.tile->range[i];
  return {source.tile->primitive[i], static_cast<float>(range.x),
          static_cast<float>(range.y == kFarStep ? kMaxSteps : range.y)};
}

// Fills the tile's list; false if it has no room.
__device__ __forceinline__ bool ListForTile(const Scratch& scratch, const Source& source, const Cone& cone, int lane,
                                            TileScratch* tile, int* count) {
  int kept = 0, waiting = 0;
  static_assert(kKept >= 2, "the tags hold the queue");
  int* queue = &tile->tag[0][0];  // those whose spheres touch wait here, to test 32 boxes at once
  for (int i = 0; i < source.count; i += kWarp) {
    const int k = Candidate(source, min(i + lane, source.count - 1));
    float nearest, farthest;
    const bool near = i + lane < source.count && Touches(cone, scratch.spheres[source.first_primitive + k], &nearest, &farthest);
    const unsigned nears = __ballot_sync(kAllLanes, near);
    if (near) queue[waiting + __popc(nears & LanesBelow(lane))] = k;
    waiting += __popc(nears);
    __syncwarp();
    while (waiting >= kWarp || (waiting > 0 && i + kWarp >= source.count)) {
      Entry entry = {0, 0.0f, 0.0f};
      if (lane < waiting) entry = TestCandidate(scratch, source, cone, queue[lane]);
      const int later = queue[lane + kWarp];
      __syncwarp();
      queue[lane] = later;
      __syncwarp();
      waiting = max(waiting - kWarp, 0);
      const bool touches = entry.first < entry.last;
      const unsigned mask = __ballot_sync(kAllLanes, touches);
      if (kept + __popc(mask) > kTileCapacity) return false;
      if (touches) {
        const int at = kept + __popc(mask & LanesBelow(lane));
        tile->primitive[at] = entry.primitive;
        tile->range[at] = make_ushort2(static_cast<unsigned short>(fminf(entry.first, kFarStep - 1)),
                                       static_cast<unsigned short>(fminf(entry.last, kFarStep)));
      }
      kept += __popc(mask);
    }
  }
  __syncwarp();
  *count = kept;
  return true;
}

// Colour and density at y, all |y| < 1.
template <int kSide, bool kHasWarp>
__device__ __forceinline__ float4 ReadSample(const Scene& scene, const float4* voxels, int64_t at, const float y[3]) {
  const int side = kSide > 0 ? kSide : scene.shape.side;
  if (kHasWarp) {
    const int e = scene.shape.warp_side;
    float u[3];
    ReadWarp(scene.warp + at * (3 * e * e * e), e, PlaceInside(y, e), u);
    return ReadCell(voxels, side, PlaceAnywhere(u, side));
  }
  float fx, fy, fz;
  const float4* lower = voxels;
  if constexpr (kSide == 8) {
    const Cell8 cell = PlaceInside8(y);
    fx = cell.fx, fy = cell.fy, fz = cell.fz;
    lower += static_cast<unsigned>((cell.z * 8 + cell.y) * 8 + cell.x);
  } else {
    const Cell cell = PlaceInside(y, side);
    fx = cell.fraction[0], fy = cell.fraction[1], fz = cell.fraction[2];
    lower += (cell.at[2] * side + cell.at[1]) * side + cell.at[0];
  }
  float4 v[8];
#pragma unroll
  for (int corner = 0; corner < 8; ++corner) {
    v[corner] = __ldg(lower + ((corner >> 2) * side + (corner >> 1 & 1)) * side + (corner & 1));
  }
  const float w11 = fz * fy, w10 = fz - w11, w01 = fy - w11, w00 = 1.0f - fz - w01;  // of the rows, by z and y
  const float rows[4] = {w00, w01, w10, w11};
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    const float upper = rows[row] * fx;
    AddScaled(&value, v[2 * row], rows[row] - upper);
    AddScaled(&value, v[2 * row + 1], upper);
  }
  return value;
}

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
  if (!(first < last)) return;
  // From its first sample on: the start lies many boxes away, and y would carry its rounding.
  float v[3], near[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) v[i] = (ray.start[i] - pose.position[i]) + first * ray.step[i];
#pragma unroll
  for (int i = 0; i < 3; ++i) near[i] = pose.matrix[3 * i] * v[0] + pose.matrix[3 * i + 1] * v[1] + pose.matrix[3 * i + 2] * v[2];
  const int side = kSide > 0 ? kSide : scene.shape.side;
  const float4* voxels = reinterpret_cast<const float4*>(scene.rgba) + at * (side * side * side);
  for (float n = first; n < last; n += 1.0f) {
    const float m = n - first;
    const float y[3] = {near[0] + m * line.step[0], near[1] + m * line.step[1], near[2] + m * line.step[2]};
    if (!Inside(y)) continue;
    float4 sample = ReadSample<kSide, kHasWarp>(scene, voxels, at, y);
    sample.w *= Fade(y) * scene.step_size;
    visit(n, sample);
  }
}

// Calls visit(primitive) for the tile's candidates with samples at steps begin <= n < end, in order of index; returns the first
// step from `end` on at which one has samples.
template <class Visit>
__device__ __forceinline__ float ForEachInWindow(const Scratch& scratch, const Source& source, const Cone& cone, int lane, float begin,
                                                 float end, Visit visit) {
  float next = INFINITY;
  for (int i = 0; i < source.count; i += kWarp) {
    const Entry entry = Fetch(scratch, source, cone, i + lane);
    const bool some = entry.first < entry.last;
    if (some && entry.last > end) next = fminf(next, fmaxf(entry.first, end));
    unsigned mask = __ballot_sync(kAllLanes, some && entry.first < end && entry.last > begin);
    while (mask != 0) {
      const int k = __shfl_sync(kAllLanes, entry.primitive, FirstLane(mask));
      mask &= mask - 1;
      visit(k);
    }
  }
  return next;
}

template <int kSide, bool kHasWarp>
__device__ __forceinline__ RayState MarchTile(const Scene& scene, const Scratch& scratch, const Source& source, const Cone& cone,
                                              int lane, MarchRay ray, TileScratch* own) {
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  RayState state = {zero, zero, kNever, kNever};
  float window = ForEachInWindow(scratch, source, cone, lane, -1.0f, 0.0f, [](int) {});
  bool is_long = false;
  int quiet = 0;
  for (;;) {
    for (int i = 16; i > 0; i /= 2) window = fminf(window, __shfl_xor_sync(kAllLanes, window, i));
    if (!__any_sync(kAllLanes, window < ray.count)) return state;
    // Windows end at multiples of their lengths, so that sums do not depend on candidates that add nothing.
    window = floorf(window * (1.0f / kShort)) * kShort;
    const float end = is_long ? (floorf(window * (1.0f / kLong)) + 1.0f) * kLong : window + kShort, length = end - window;
    if (!is_long) {
      for (int i = 0; i < kShort; ++i) own->alpha[i][lane] = 0.0f;
    }
    float4 sum = zero;
    int kept = 0;
    const float next = ForEachInWindow(scratch, source, cone, lane, window, end, [&](int k) {
      ForEachSample<kSide, kHasWarp>(scene, scratch, source.first_primitive + k, ray, window, end, [&](float n, const float4& sample) {
        Composite(&sum, sample, sample.w);
        if (is_long) return;
        const int step = static_cast<int>(n - window);
        own->alpha[step][lane] += sample.w;
        if (kept < kKept) {
          own->sample[kept][lane] = sample;
          own->tag[kept][lane] = k * kShort + step;
        }
        ++kept;
      });
    });
    // Alpha that is not a number never saturates, nor does it change how the tile's other rays are summed.
    const bool crossing = ray.count > 0.0f && state.rgba.w + sum.w >= 0.999f;
    if (is_long && __any_sync(kAllLanes, crossing)) {
      is_long = false;  // once more, and on, in short windows
      quiet = INT32_MIN;
      continue;
    }
    if (__any_sync(kAllLanes, crossing)) {
      Saturation saturation(state.rgba, own->alpha, lane, window);
      const bool saturates = crossing && saturation.at_step >= 0.0f;
      if (saturates && kept <= kKept) {
        for (int i = 0; i < kept; ++i) {
          const int tag = own->tag[i][lane];
          saturation.Add(tag / kShort, window + static_cast<float>(tag % kShort), own->sample[i][lane]);
        }
      }
      const bool again = saturates && kept > kKept;
      if (__any_sync(kAllLanes, again)) {
        ForEachInWindow(scratch, source, cone, lane, window, end, [&](int k) {
          ForEachSample<kSide, kHasWarp>(scene, scratch, source.first_primitive + k, ray, window, again ? end : window,
                                         [&](float n, const float4& sample) { saturation.Add(k, n, sample); });
        });
      }
      if (saturates) {
        saturation.Finish(&state);
        ray.count = 0.0f;
      } else {
        AddTo(&state.rgba, sum);
      }
    } else {
      AddTo(&state.rgba, sum);
    }
    const bool near = ray.count > 0.0f && state.rgba.w + sum.w * (2.0f * kLong / length) >= 1.0f;
    if (__any_sync(kAllLanes, near)) {
      quiet = min(quiet, 0);
    } else if (__any_sync(kAllLanes, sum.w > 0.0f)) {
      ++quiet;
    }
    is_long = quiet >= kQuiet;
    window = next;
  }
}

template <int kSide, bool kHasWarp>
__global__ void __launch_bounds__(kMarchWarps* kWarp, kMarchBlocks)
    March(Scene scene, Image image, Scratch scratch, Grid grid, int capacity) {
  extern __shared__ float4 memory[];
  TileScratch* shared = reinterpret_cast<TileScratch*>(memory);
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
    Source source = {nullptr, listed < 0 ? nullptr : scratch.lists + block * capacity, first_primitive, listed < 0 
                         ? static_cast<int>(scene.shape.primitives) : listed};
    int count;
    if (ListForTile(scratch, source, cone, lane, own, &count)) {
      source.tile = own;
      source.count = count;
    }
    state = MarchTile<kSide, kHasWarp>(scene, scratch, source, cone, lane, LoadRay(scene, pixel), own);
  }
  if (pixel < 0) return;
  reinterpret_cast<float4*>(image.rgba)[pixel] = state.rgba;
  reinterpret_cast<float4*>(image.saturation)[pixel] = state.saturation;
  reinterpret_cast<int2*>(image.saturation_at)[pixel] = make_int2(state.step, state.primitive);
}

template <int kSide, bool kHasWarp>
cudaError_t LaunchMarch(const Scene& scene, const Image& image, const Scratch& scratch, const Grid& grid, int capacity,
                        cudaStream_t stream) {
  constexpr int kBytes = kMarchWarps * sizeof(TileScratch);
  const auto kernel = March<kSide, kHasWarp>;
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames * grid.tiles / kMarchWarps);
  kernel<<<blocks, kMarchWarps * kWarp, kBytes, stream>>>(scene, image, scratch, grid, capacity);
  return cudaGetLastError();
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
  List(s, scratch, capacity, stream);
  if (scene.warp != nullptr) return LaunchMarch<0, true>(scene, image, scratch, grid, capacity, stream);
  if (s.side == 8) return LaunchMarch<8, false>(scene, image, scratch, grid, capacity, stream);
  return LaunchMarch<0, false>(scene, image, scratch, grid, capacity, stream);
}

}  // namespace raymarch
}  // namespace ava
