// Forward pass: a warp marches the rays of a tile of 8 x 4 pixels, a lane each, through the primitives listed for its block.
//
// Steps go by in windows. In a window up to 32 primitives have slots; a lane finds at which steps its ray enters and leaves each, then
// goes through its own samples one after the other, in order of step, then primitive, whatever the other lanes are at.
#include "candidates.cuh"
#include "cuda.h"
#include "device.cuh"
#include "sample.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kMarchWarps = 4;
constexpr int kMarchBlocks = 4;  // of threads, on a multiprocessor: 128 registers a thread, and the L1 what shared memory leaves
constexpr int kSteps = 32;       // of a window at most: a bit each
constexpr int kSlots = 32;       // primitives in a window: a bit each

// Lane-private columns, but for the slots.
struct WindowScratch {
  float4 row[kSlots][3];              // of the box's matrix; its offset for positions relative to the window's reference point
  unsigned change[kSteps][kWarp];     // slots whose samples begin or end with the step, by ray
  int primitive[kSlots];
  TileList list;
};

// A lane's ray. What saturated it is written as soon as it is known.
struct Ray {
  MarchRay march;  // of no steps once it has saturated
  int64_t pixel;
  float4 rgba;
  bool saturated;
};

// Steps begin <= n < end, with positions relative to a point near them.
struct Window {
  int base;  // the step whose position is the reference point: bits do not depend on which primitives have slots
  int begin, end;
  float3 reference;
};

// The 8 voxels around y, all |y| < 1, interpolated. `voxel` is the primitive's first in its frame's template.
template <int kSide>
__device__ __forceinline__ float4 ReadInside(const float4* voxels, int side, unsigned voxel, const float y[3]) {
  float fx, fy, fz;
  const float4* lower;
  if constexpr (kSide == 8) {
    const Cell8 cell = PlaceInside8(y);
    fx = cell.fx, fy = cell.fy, fz = cell.fz;
    lower = voxels + (cell.z * 64 + cell.y * 8 + cell.x + (voxel - kAxisBias * 73));
  } else {
    const Cell cell = PlaceInside(y, side);
    fx = cell.fraction[0], fy = cell.fraction[1], fz = cell.fraction[2];
    lower = voxels + ((cell.at[2] * side + cell.at[1]) * side + cell.at[0]);
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

// Colour and density at y, all |y| < 1.
template <int kSide, bool kHasWarp>
__device__ __forceinline__ float4 ReadSample(const Scene& scene, int64_t first_primitive, int primitive, const float y[3]) {
  const float4* all = reinterpret_cast<const float4*>(scene.rgba);
  if constexpr (kSide == 8) {
    return ReadInside<8>(all + first_primitive * 512, 8, static_cast<unsigned>(primitive) * 512, y);
  } else {
    const int side = scene.shape.side;
    const int64_t at = first_primitive + primitive;
    const float4* voxels = all + at * (side * side * side);
    if (!kHasWarp) return ReadInside<0>(voxels, side, 0, y);
    const int e = scene.shape.warp_side;
    float u[3];
    ReadWarp(scene.warp + at * (3 * e * e * e), e, PlaceInside(y, e), u);
    return ReadCell(voxels, side, PlaceAnywhere(u, side));
  }
}

// Gives slots to the tile's candidates with samples in the window, in order of index, but for the first `skip`. Returns how many there
// are; `next` gets the first step from the window's end on at which a candidate has samples.
__device__ __forceinline__ int FillSlots(const Scratch& scratch, const Source& source, int lane, const Window& window,
                                         int skip, WindowScratch* own, int* next) {
  int count = 0, first = kMaxSteps;
  for (int i = 0; i < source.count; i += kWarp) {
    const Entry entry = Fetch(scratch, source, i + lane);
    const bool some = entry.first < entry.last;
    if (some && entry.last > window.end) first = min(first, max(entry.first, window.end));
    const bool in = some && entry.first < window.end && entry.last > window.begin;
    const unsigned mask = __ballot_sync(kAllLanes, in);
    const int slot = count + __popc(mask & LanesBelow(lane)) - skip;
    count += __popc(mask);
    if (!in || slot < 0 || slot >= kSlots) continue;
    const Pose pose = LoadPose(scratch, source.first_primitive + entry.primitive);
    const float v[3] = {window.reference.x - pose.position[0], window.reference.y - pose.position[1],
                        window.reference.z - pose.position[2]};
#pragma unroll
    for (int j = 0; j < 3; ++j) {
      const float* row = pose.matrix + 3 * j;
      own->row[slot][j] = make_float4(row[0], row[1], row[2], row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
    }
    own->primitive[slot] = entry.primitive;
  }
  *next = WarpLeast(first);
  return count;
}

__device__ __forceinline__ bool InsideBox(const float y[3]) {
  return (fabsf(y[0]) < 1.0f) & (fabsf(y[1]) < 1.0f) & (fabsf(y[2]) < 1.0f);
}

__device__ __forceinline__ float Along(const float4& row, const float at[3]) {
  return fmaf(row.z, at[2], fmaf(row.y, at[1], fmaf(row.x, at[0], row.w)));
}

// Whole steps first <= n < last of a ray of `count` steps that hold all samples inside the slot's box. `start` and `by` are the ray's.
// As StepRange, whose cases it has: an axis along which the ray stays is not bounded.
__device__ __forceinline__ void SlotRange(const float4* rows, const float start[3], const float by[3], int count, int* first, int* last) {
  float lo = 0.0f, hi = static_cast<float>(kSteps);
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float4 row = rows[i];
    const float inverse = Reciprocal(row.z * by[2] + (row.y * by[1] + row.x * by[0]));
    const float middle = -Along(row, start) * inverse;
    lo = fmaxf(middle - fabsf(inverse), lo);  // a NaN bounds nothing
    hi = fminf(middle + fabsf(inverse), hi);
  }
  constexpr float kSlack = 1e-3f;  // in steps: covers the rounding of the division
  *first = static_cast<int>(fminf(lo, static_cast<float>(kSteps)) + (1.0f - kSlack));
  *last = min(static_cast<int>(fmaxf(hi, -1.0f) + (1.0f + kSlack)), count);
}

// Notes, by step, which of the window's slots a lane's ray enters or leaves; returns the steps that have samples, a bit each.
__device__ __forceinline__ unsigned FindSamples(const float start[3], const float by[3], int begin, int count, int slots, int lane,
                                                WindowScratch* own) {
  uint4* words = reinterpret_cast<uint4*>(own->change);
#pragma unroll
  for (int i = 0; i < kSteps / 4; ++i) words[i * kWarp + lane] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  unsigned steps = 0, bit = 1;
  for (int slot = 0; slot < slots; ++slot, bit *= 2) {
    int first, last;
    SlotRange(own->row[slot], start, by, count, &first, &last);
    first = max(first, begin);
    if (first < last) {
      own->change[first][lane] ^= bit;
      if (last < kSteps) own->change[last][lane] ^= bit;
      steps |= (kAllLanes >> (32 - (last - first))) << first;
    }
  }
  return steps;
}

// Marches a lane's ray through the window's first `slots` slots.
template <int kSide, bool kHasWarp>
__device__ __forceinline__ void MarchWindow(const Scene& scene, const Image& image, int64_t first_primitive, const Window& window,
                                            int slots, int lane, WindowScratch* own, Ray* ray) {
  const float* by = ray->march.step;
  const float base = static_cast<float>(window.base);
  const float start[3] = {(ray->march.start[0] - window.reference.x) + base * by[0],
                          (ray->march.start[1] - window.reference.y) + base * by[1],
                          (ray->march.start[2] - window.reference.z) + base * by[2]};
  const int count = static_cast<int>(fminf(ray->march.count, static_cast<float>(window.end))) - window.base;
  unsigned steps = FindSamples(start, by, window.begin - window.base, count, slots, lane, own);
  unsigned inside = 0, left = 0;  // slots that the step has samples in; those still to be taken
  int step = -2, slot = 0;
  float along = 0.0f, part = 0.0f;
  float4 sample;
  bool saturates = false;
  while ((steps | left) != 0) {
    if (left == 0) {
      const int next = FirstLane(steps);
      steps &= steps - 1;
      // Where a step without samples lies between, nothing goes on.
      left = inside = (next == step + 1 ? inside : 0u) ^ own->change[next][lane];
      step = next;
      along = static_cast<float>(step);
    }
    slot = FirstLane(left);
    left &= left - 1;
    const float at[3] = {start[0] + along * by[0], start[1] + along * by[1], start[2] + along * by[2]};
    const float y[3] = {Along(own->row[slot][0], at), Along(own->row[slot][1], at), Along(own->row[slot][2], at)};
    if (!InsideBox(y)) continue;
    sample = ReadSample<kSide, kHasWarp>(scene, first_primitive, own->primitive[slot], y);
    const float alpha = sample.w * Fade(y) * scene.step_size, before = ray->rgba.w, after = before + alpha;
    saturates = after >= 1.0f;  // never where it is not a number
    part = saturates ? 1.0f - before : alpha;
    ray->rgba.x += sample.x * part;
    ray->rgba.y += sample.y * part;
    ray->rgba.z += sample.z * part;
    ray->rgba.w = after;
    if (saturates) break;
  }
  if (saturates) {
    ray->rgba.w = 1.0f;
    ray->march.count = 0.0f;
    ray->saturated = true;
    reinterpret_cast<float4*>(image.saturation)[ray->pixel] = make_float4(sample.x, sample.y, sample.z, part);
    reinterpret_cast<int2*>(image.saturation_at)[ray->pixel] = make_int2(window.base + step, own->primitive[slot]);
  }
  __syncwarp();
}

// Position of a ray of the tile at a step: the window's reference point.
__device__ __forceinline__ float3 Reference(const MarchRay& ray, int lane, int step) {
  float at[3];
  for (int i = 0; i < 3; ++i) {
    at[i] = __shfl_sync(kAllLanes, ray.start[i], lane) + static_cast<float>(step) * __shfl_sync(kAllLanes, ray.step[i], lane);
  }
  return make_float3(at[0], at[1], at[2]);
}

// Lists the tile's candidates from a step on; returns the step up to which the list holds them.
__device__ __forceinline__ int ListFrom(const Scratch& scratch, const Source& block, int from, int lane, WindowScratch* own,
                                        Source* source) {
  for (int span = kMaxSteps; span > 0; span = span > 512 ? 512 : span / 2) {
    const int until = min(from + span, kMaxSteps);
    const int count = ListForTile(scratch, block, from, until, lane, reinterpret_cast<int*>(own->change), &own->list);
    if (count < 0) continue;
    source->tile = &own->list;
    source->count = count;
    return until;
  }
  *source = block;  // more at one step than have room
  return kMaxSteps;
}

template <int kSide, bool kHasWarp>
__device__ __forceinline__ void MarchTile(const Scene& scene, const Image& image, const Scratch& scratch, const Source& block, int lane,
                                          WindowScratch* own, Ray* ray) {
  const unsigned rays = __ballot_sync(kAllLanes, ray->march.count > 0.0f);
  if (rays == 0) return;
  Source source = block;
  Window window = {0, 0, 0, make_float3(0.0f, 0.0f, 0.0f)};
  int next = 0, until = 0;  // the next step with samples; the one where the list ends
  while (__any_sync(kAllLanes, static_cast<float>(min(next, until)) < ray->march.count)) {
    if (next >= until) {
      if (until == kMaxSteps) return;
      window.begin = until - 1, window.end = until;
      until = ListFrom(scratch, block, until, lane, own, &source);
      FillSlots(scratch, source, lane, window, kMaxSteps, own, &next);
      continue;
    }
    window.begin = next;
    window.base = next / kSteps * kSteps;
    window.end = min(window.base + kSteps, until);
    window.reference = Reference(ray->march, FirstLane(rays), window.base);
    int count;
    while ((count = FillSlots(scratch, source, lane, window, 0, own, &next)) > kSlots && window.end - window.begin > 1) {
      window.end = window.begin + (window.end - window.begin) / 2;
    }
    for (int skip = 0; skip < count; skip += kSlots) {
      if (skip > 0) FillSlots(scratch, source, lane, window, skip, own, &next);
      MarchWindow<kSide, kHasWarp>(scene, image, source.first_primitive, window, min(count - skip, kSlots), lane, own, ray);
    }
  }
}

template <int kSide, bool kHasWarp>
__global__ void __launch_bounds__(kMarchWarps* kWarp, kMarchBlocks)
    March(Scene scene, Image image, Scratch scratch, Grid grid, int capacity) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x % kWarp;
  const unsigned warp = blockIdx.x * kMarchWarps + threadIdx.x / kWarp;
  const int block = scratch.order[warp / kBlockTileCount];
  const int64_t tile = static_cast<int64_t>(block) * kBlockTileCount + warp % kBlockTileCount;
  const int64_t frame = static_cast<unsigned>(block) / static_cast<unsigned>(grid.blocks);
  Ray ray = {};
  ray.pixel = PixelIndex(scene.shape, grid, frame, static_cast<unsigned>(tile - frame * grid.tiles), lane);
  const int listed = scratch.list_counts[block];
  if (listed != 0) {
    ray.march = LoadRay(scene, ray.pixel);
    // Known not to be computed anew wherever it is used.
    unsigned own = static_cast<unsigned>(__cvta_generic_to_shared(memory)) + threadIdx.x / kWarp * sizeof(WindowScratch);
    asm("" : "+r"(own));
    const Source source = {nullptr, listed < 0 ? nullptr : scratch.lists + static_cast<int64_t>(block) * capacity,
                           frame * scene.shape.primitives, tile, listed < 0 ? static_cast<int>(scene.shape.primitives) : listed};
    MarchTile<kSide, kHasWarp>(scene, image, scratch, source, lane, static_cast<WindowScratch*>(__cvta_shared_to_generic(own)), &ray);
  }
  if (ray.pixel < 0) return;
  reinterpret_cast<float4*>(image.rgba)[ray.pixel] = ray.rgba;
  if (ray.saturated) return;
  reinterpret_cast<float4*>(image.saturation)[ray.pixel] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  reinterpret_cast<int2*>(image.saturation_at)[ray.pixel] = make_int2(kNever, kNever);
}

template <int kSide, bool kHasWarp>
cudaError_t LaunchMarch(const Scene& scene, const Image& image, const Scratch& scratch, const Grid& grid, int capacity,
                        cudaStream_t stream) {
  constexpr int kBytes = kMarchWarps * sizeof(WindowScratch);
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
  out.order = carver->Take<int32_t>(s.frames * g.blocks);
  out.listed = carver->Take<int32_t>(1);
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
