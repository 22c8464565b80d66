// Forward pass: a warp marches the rays of a tile of 8 x 4 pixels, a lane each, through the primitives listed for its block.
//
// Steps go by in windows. In a window the tile's primitives have slots; a lane finds at which steps its ray enters and leaves each,
// then goes through its own samples one after the other, in order of step, then primitive, whatever the other lanes are at.
#include <algorithm>
#include <type_traits>

#include "../common/device.cuh"
#include "../common/sample.cuh"
#include "../cuda.h"
#include "../culling/candidates.cuh"
#include "image.cuh"
#include "queue.cuh"
#include "window.cuh"

namespace ava {
namespace raymarch {
namespace {

// Slots of a tile. Room that tiles do not need is better left to the L1; a tile that needs more goes by in shorter windows, and the march
// waits for the longest. How many a tile meets goes with the primitives for each of its 32 pixels.
constexpr int kFewSlots = 32, kManySlots = Limit(64, 40);
// Of a thread block, of which a multiprocessor holds one: 96 registers per thread, or 128.
template <int kTileSlots>
constexpr int kMarchWarps = kTileSlots == kFewSlots ? 20 : 16;
constexpr float kFewPrimitives = 1.5f;  // for 32 pixels of all views

// A lane's ray. What saturated it is written as soon as it is known.
struct Ray {
  MarchRay march;  // of no steps once it has saturated
  int64_t pixel;
  float4 rgba;
  bool saturated;
};

// A sample whose voxels are on their way from memory; with sides other than 8, its colour and density.
template <int kSide, class Voxel>
struct Sample {
  std::conditional_t<kSide == 8, Voxel, float4> voxel[kSide == 8 ? 8 : 1];
  float x, y, z;  // weights of the latter voxels along each axis; along x of those read second
  float opacity;  // alpha that a density of 1 adds
  int step, primitive;
};

// The 8 voxels around y, all |y| < 1. `voxel` is the primitive's first in its frame's template. The L1 serves the words of a
// quarter-warp from banks by x alone (in bfloat16 those of a half-warp, by x and y's parity): where y and z add up to an odd number,
// the upper x is read first, so that neighbours do not meet in a bank.
template <class Voxel>
__device__ __forceinline__ void ReadVoxels(const Voxel* voxels, unsigned voxel, const float y[3], Sample<8, Voxel>* sample) {
  const Cell8 cell = PlaceInside8(y);
  const unsigned lower = cell.z * 64 + cell.y * 8 + cell.x + (voxel - kAxisBias * 73);
  const unsigned odd = (cell.y ^ cell.z) & 1;
  sample->x = odd ? 1.0f - cell.fx : cell.fx;
  const Voxel* one = voxels + (lower + odd);
  const Voxel* other = voxels + (lower + (odd ^ 1));
  sample->y = cell.fy, sample->z = cell.fz;
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    sample->voxel[2 * row] = LoadRow(one + (row >> 1) * 64 + (row & 1) * 8);
    sample->voxel[2 * row + 1] = LoadRow(other + (row >> 1) * 64 + (row & 1) * 8);
  }
}

template <class Voxel>
__device__ __forceinline__ float4 Interpolate(const Sample<8, Voxel>& sample) {
  const float w11 = sample.z * sample.y, w10 = sample.z - w11, w01 = sample.y - w11, w00 = 1.0f - sample.z - w01;
  const float rows[4] = {w00, w01, w10, w11};  // by z and y
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    const float second = rows[row] * sample.x;
    AddScaled(&value, Widen(sample.voxel[2 * row]), rows[row] - second);
    AddScaled(&value, Widen(sample.voxel[2 * row + 1]), second);
  }
  return value;
}

template <class Voxel>
__device__ __forceinline__ float4 Interpolate(const Sample<0, Voxel>& sample) { return sample.voxel[0]; }

template <int kSide>
__device__ __forceinline__ int64_t VoxelsEach(const Scene& scene) {
  return kSide == 8 ? 512 : scene.shape.side * scene.shape.side * scene.shape.side;
}

// Starts to read colour and density at y, all |y| < 1. `frame` is the first voxel of the frame's templates.
template <int kSide, bool kHasWarp, class Voxel>
__device__ __forceinline__ void ReadSample(const Scene& scene, const Voxel* frame, int64_t first_primitive, int primitive,
                                           const float y[3], Sample<kSide, Voxel>* sample) {
  if constexpr (kSide == 8) {
    ReadVoxels(frame, static_cast<unsigned>(primitive) * 512, y, sample);
  } else {
    const int side = scene.shape.side;
    const int64_t at = first_primitive + primitive;
    const Voxel* voxels = frame + primitive * VoxelsEach<kSide>(scene);
    if constexpr (!kHasWarp) {
      sample->voxel[0] = ReadCell(voxels, side, CellInside(y, side));
    } else {
      const int warp_side = scene.shape.warp_side;
      float u[3];
      ReadWarp(scene.warp + at * (3 * warp_side * warp_side * warp_side), warp_side, CellInside(y, warp_side), u);
      sample->voxel[0] = ReadCell(voxels, side, CellAnywhere(u, side));
    }
  }
}

// A lane's way through a window: relative to its reference point, step n lies at start + n by.
struct Walk {
  float start[3], by[3];
  unsigned steps;         // that have samples and are still to come, a bit each
  unsigned inside, left;  // the ray's slots that the step has samples in; those of them still to be taken
  int step;
};

// Where a sample lies in its primitive's box.
struct SamplePoint {
  float y[3];
  int step, primitive;
};

// The walk's next sample; false if there is none.
template <int kTileSlots>
__device__ __forceinline__ bool NextSample(int lane, const WindowScratch<kTileSlots>& own, Walk* walk, SamplePoint* point) {
  while ((walk->steps | walk->left) != 0) {
    if (walk->left == 0) {
      const int next = FirstLane(walk->steps);
      walk->steps &= walk->steps - 1;
      // Where a step without samples lies between, nothing goes on.
      walk->left = walk->inside = (next == walk->step + 1 ? walk->inside : 0u) ^ own.change[next][lane];
      walk->step = next;
    }
    int slot = FirstLane(walk->left);
    walk->left &= walk->left - 1;
    if constexpr (kTileSlots > kRaySlots) slot = own.slot[slot][lane];
    const float along = static_cast<float>(walk->step);
    const float at[3] = {walk->start[0] + along * walk->by[0], walk->start[1] + along * walk->by[1],
                         walk->start[2] + along * walk->by[2]};
#pragma unroll
    for (int i = 0; i < 3; ++i) point->y[i] = Along(own.row[slot][i], at);
    point->step = walk->step, point->primitive = own.primitive[slot];
    if (InsideBox(point->y)) return true;
  }
  return false;
}

// Adds a sample to its ray; returns whether that saturates it.
template <int kSide, class Voxel>
__device__ __forceinline__ bool Composite(const Image& image, const Sample<kSide, Voxel>& sample, int base, Ray* ray) {
  const float4 value = Interpolate(sample);
  const float alpha = value.w * sample.opacity, before = ray->rgba.w, after = before + alpha;
  const bool saturates = after >= 1.0f;  // never where it is not a number
  const float part = saturates ? 1.0f - before : alpha;
  ray->rgba.x += value.x * part;
  ray->rgba.y += value.y * part;
  ray->rgba.z += value.z * part;
  ray->rgba.w = after;
  if (!saturates) return false;
  ray->rgba.w = 1.0f;
  ray->march.count = 0.0f;
  ray->saturated = true;
  reinterpret_cast<float4*>(image.saturation)[ray->pixel] = make_float4(value.x, value.y, value.z, part);
  reinterpret_cast<int2*>(image.saturation_at)[ray->pixel] = make_int2(base + sample.step, sample.primitive);
  return true;
}

// Marches a lane's ray through the window's slots first_slot <= slot < last_slot; or returns false, if a ray meets more than it has
// room for.
template <int kSide, bool kHasWarp, class Voxel, int kTileSlots>
__device__ __forceinline__ bool MarchWindow(const Scene& scene, const Image& image, int64_t first_primitive, const Window& window,
                                            int first_slot, int last_slot, int lane, WindowScratch<kTileSlots>* own, Ray* ray) {
  Walk walk;
  const float base = static_cast<float>(window.base);
  const float reference[3] = {window.reference.x, window.reference.y, window.reference.z};
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    walk.by[i] = ray->march.step[i];
    walk.start[i] = (ray->march.start[i] - reference[i]) + base * walk.by[i];
  }
  const int count = static_cast<int>(fminf(ray->march.count, static_cast<float>(window.end))) - window.base;
  const bool fits = FindSamples(walk.start, walk.by, window.begin - window.base, count, first_slot, last_slot, lane, own, &walk.steps);
  if constexpr (kTileSlots > kRaySlots) {
    if (!__all_sync(kAllLanes, fits)) return false;
  }
  walk.inside = walk.left = 0;
  walk.step = -2;
  SamplePoint point;
  const Voxel* frame = Templates<Voxel>(scene) + first_primitive * VoxelsEach<kSide>(scene);
#ifdef __CUDACC__
  asm("" : "+l"(frame));  // not to be computed anew for each sample
#endif
  // The next sample is looked for while a sample's voxels are on their way.
  for (bool more = NextSample(lane, *own, &walk, &point); more;) {
    Sample<kSide, Voxel> sample;
    ReadSample<kSide, kHasWarp>(scene, frame, first_primitive, point.primitive, point.y, &sample);
    sample.opacity = Fade(point.y) * scene.step_size;
    sample.step = point.step, sample.primitive = point.primitive;
    more = NextSample(lane, *own, &walk, &point);
    if (Composite(image, sample, window.base, ray)) break;
  }
  __syncwarp();
  return true;
}

// Position of a ray of the tile at a step: the window's reference point.
__device__ __forceinline__ float3 Reference(const MarchRay& ray, int lane, int step) {
  float at[3];
  for (int i = 0; i < 3; ++i) {
    at[i] = __shfl_sync(kAllLanes, ray.start[i], lane) + static_cast<float>(step) * __shfl_sync(kAllLanes, ray.step[i], lane);
  }
  return make_float3(at[0], at[1], at[2]);
}

// Lists the tile's candidates from step *next on; returns the step up to which the list holds them. *next becomes the first with
// samples, as far as known.
template <int kTileSlots>
__device__ __forceinline__ int ListFrom(const Scratch& scratch, const Source& block, int lane,
                                        WindowScratch<kTileSlots>* own, Source* source, int* next) {
  const int from = *next;
  const Cone cone = own->cone;
  const Spread rays = own->rays;
  for (int span = kMaxSteps; span > 0; span = span > 512 ? 512 : span / 2) {
    const int until = min(from + span, kMaxSteps);
    int first;
    const int count = ListForTile(scratch, block, cone, rays, from, until, lane, reinterpret_cast<int*>(own->change),
                                  kTileCapacity<kTileSlots>, own->list, &first);
    if (count < 0) continue;
    source->tile = own->list;
    source->count = count;
    *next = max(from, first);
    return until;
  }
  // More at one step than have room: they are looked at again for each window.
  *source = block;
  return kMaxSteps;
}

template <int kSide, bool kHasWarp, class Voxel, int kTileSlots>
__device__ __forceinline__ void MarchTile(const Scene& scene, const Image& image, const Scratch& scratch, const Source& block, int lane,
                                          WindowScratch<kTileSlots>* own, Ray* ray) {
  const unsigned rays = __ballot_sync(kAllLanes, ray->march.count > 0.0f);
  Source source = block;
  Window window = {0, 0, 0, make_float3(0.0f, 0.0f, 0.0f)};
  int next = 0, until = 0;  // the next step with samples; the one where the list ends
  while (__any_sync(kAllLanes, static_cast<float>(min(next, until)) < ray->march.count)) {
    if (next >= until) {
      if (until == kMaxSteps) return;
      next = until;
      until = ListFrom<kTileSlots>(scratch, block, lane, own, &source, &next);
      continue;
    }
    window.begin = next;
    window.base = next / kSteps * kSteps;
    window.end = min(window.base + kSteps, until);
    window.reference = Reference(ray->march, FirstLane(rays), window.base);
    const auto halve = [&] { window.end = window.begin + (window.end - window.begin) / 2; };
    for (int skip = 0, count = 1; skip < count;) {
      count = FillSlots(scratch, source, lane, window, skip, own, &next);
      if (count > kTileSlots && window.end - window.begin > 1) {
        halve();
        continue;
      }
      const int filled = min(count - skip, kTileSlots);
      for (int done = 0; done < filled;) {
        const bool single = window.end - window.begin == 1;  // goes by in groups that any ray has room for
        const int last = single ? min(done + kRaySlots, filled) : filled;
        if (MarchWindow<kSide, kHasWarp, Voxel>(scene, image, source.first_primitive, window, done, last, lane, own, ray)) {
          done = last;
        } else {
          halve();
          next = window.end;
        }
      }
      skip += kTileSlots;
    }
  }
}

template <int kSide, bool kHasWarp, int kTileSlots, class Voxel>
__global__ void __launch_bounds__(kMarchWarps<kTileSlots>* kWarp, 1)
    March(Scene scene, Image image, Scratch scratch, Grid grid, int capacity) {
  AVA_DYNAMIC_SHARED(memory);
  __shared__ Queue queue;
  if (threadIdx.x == 0) StartQueue(&queue);
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  // Known not to be computed anew wherever it is used.
  unsigned own = static_cast<unsigned>(__cvta_generic_to_shared(memory)) + threadIdx.x / kWarp * sizeof(WindowScratch<kTileSlots>);
  asm("" : "+r"(own));
  const int marched = scratch.marched[0], tiles = marched * kBlockTileCount, draws = max(tiles, static_cast<int>(gridDim.x) * kChunk);
  // Each draw also stores some of what is empty, so that this takes no time of its own.
  const int rows = (static_cast<int>(scene.shape.frames * grid.blocks) - marched) * kCudaBlockSide, rows_each = (rows + draws - 1) / draws;
  for (;;) {
    int nth = 0;
    if (lane == 0) nth = DrawTile(scratch.marched + 1, &queue);
    nth = __shfl_sync(kAllLanes, nth, 0);
    if (nth >= draws) return;
    StoreEmpty(scene, image, scratch, grid, marched, min(nth * rows_each, rows), min((nth + 1) * rows_each, rows), lane);
    if (nth >= tiles) continue;
    const int block = scratch.order[nth / kBlockTileCount], listed = scratch.list_counts[block];
    const int64_t tile = static_cast<int64_t>(block) * kBlockTileCount + nth % kBlockTileCount;
    const int64_t frame = static_cast<unsigned>(block) / static_cast<unsigned>(grid.blocks);
    Ray ray = {};
    ray.pixel = PixelIndex(scene.shape, grid, frame, static_cast<unsigned>(tile - frame * grid.tiles), lane);
    const SceneRay seen = LoadSceneRay(scene, ray.pixel);
    ray.march = MakeMarchRay(seen, scene.step_size);
    if (__any_sync(kAllLanes, ray.march.count > 0.0f)) {
      const auto window = static_cast<WindowScratch<kTileSlots>*>(__cvta_shared_to_generic(own));
      const Cone cone = BoundTile(seen, scene.step_size, ray.march.count);
      const Spread spread = SpreadOf(seen, ray.pixel >= 0, cone);
      if (lane == 0) window->cone = cone, window->rays = spread;
      __syncwarp();
      const Source source = {nullptr, listed < 0 ? nullptr : scratch.lists + static_cast<int64_t>(block) * capacity,
                             frame * scene.shape.primitives, &window->cone, listed < 0 ? static_cast<int>(scene.shape.primitives) : listed};
      MarchTile<kSide, kHasWarp, Voxel>(scene, image, scratch, source, lane, window, &ray);
    }
    Store(image, ray.pixel, ray.rgba, ray.saturated);
  }
}

template <class Voxel, int kSide, bool kHasWarp, int kTileSlots>
cudaError_t LaunchMarch(const Scene& scene, const Image& image, const Scratch& scratch, const Grid& grid, int capacity,
                        cudaStream_t stream) {
  const auto kernel = March<kSide, kHasWarp, kTileSlots, Voxel>;
  constexpr int kBytes = sizeof(WindowScratch<kTileSlots>);
  int device, processors, most;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return error;
  const int warps = std::min(kMarchWarps<kTileSlots>, (most - static_cast<int>(sizeof(Queue))) / kBytes);
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, warps * kBytes);
  if (error != cudaSuccess) return error;
  const int64_t chunks = scene.shape.frames * grid.tiles / kChunk;
  const unsigned blocks = static_cast<unsigned>(std::min<int64_t>(chunks, processors));
  LaunchKernel(kernel, blocks, warps * kWarp, warps * kBytes, stream, scene, image, scratch, grid, capacity);
  return cudaGetLastError();
}

bool MeetFew(const Shape& s) {
  const double pixels = static_cast<double>(s.views) * static_cast<double>(s.height) * static_cast<double>(s.width);
  return static_cast<double>(s.primitives) * kWarp <= kFewPrimitives * pixels;
}

template <class Voxel>
cudaError_t LaunchMarches(const Scene& scene, const Image& image, const Scratch& scratch, const Grid& grid, int capacity,
                          cudaStream_t stream) {
  if (scene.warp != nullptr) return LaunchMarch<Voxel, 0, true, kManySlots>(scene, image, scratch, grid, capacity, stream);
  if (scene.shape.side != 8) return LaunchMarch<Voxel, 0, false, kManySlots>(scene, image, scratch, grid, capacity, stream);
  if (MeetFew(scene.shape)) return LaunchMarch<Voxel, 8, false, kFewSlots>(scene, image, scratch, grid, capacity, stream);
  return LaunchMarch<Voxel, 8, false, kManySlots>(scene, image, scratch, grid, capacity, stream);
}

Scratch CarveForward(Carver* carver, const Shape& s) {
  const Grid g = MakeGrid(s);
  Scratch out = CarveCommon(carver, s);
  out.clusters = carver->Take<float4>(s.frames * DivideUp(s.primitives, kWarp));
  out.list_counts = carver->Take<int32_t>(s.frames * g.blocks);
  out.lists = carver->Take<int32_t>(s.frames * g.blocks * ListCapacity(s));
  out.lengths = carver->Take<float>(s.frames * g.blocks);
  out.order = carver->Take<int32_t>(s.frames * g.blocks);
  out.listed = carver->Take<int32_t>(1);
  out.marched = carver->Take<int32_t>(2);
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
  List(scene, scratch, capacity, stream);
  if (scene.rgba_bfloat16 != nullptr) return LaunchMarches<BfloatVoxel>(scene, image, scratch, grid, capacity, stream);
  return LaunchMarches<FloatVoxel>(scene, image, scratch, grid, capacity, stream);
}

}  // namespace raymarch
}  // namespace ava
