// Gradients of templates of side 8. A warp owns a primitive's gradient, or a copy of it, in shared memory. It takes samples a chunk at
// a time, sorts them by cell, and each lane takes a few of a cell: its voxels and their gradient stay in registers while the samples go
// by.
#include "backward.cuh"
#include "chunk.cuh"

namespace ava {
namespace raymarch {
namespace {

// So many chunks' sums of a lane are added in float32, then in float64.
constexpr int kChunksBetweenCollections = 4;
constexpr int kWarpsPerMultiprocessor = 16;  // that registers must allow

__host__ __device__ constexpr int Corner(int i) { return (i >> 2) * 64 + (i >> 1 & 1) * 8 + (i & 1); }

struct CellShared {
  float4 gradient[kVoxels];
  Chunk chunk;
};

// A sample as its lane takes it from shared memory, one ahead.
struct SampleRay {
  float4 start, step, cotangent;
  float n;
  bool saturates;
};

__device__ __forceinline__ SampleRay LoadSampleRay(const Chunk& chunk, unsigned sample, unsigned entry) {
  const unsigned ray = entry >> kRay & kRayMask;
  SampleRay out = {chunk.start[ray], chunk.step[ray], chunk.cotangent[ray], 0.0f, (entry >> kSaturates & 1) != 0};
  // `sample` as a float, without the slow conversion.
  out.n = out.start.w + (__uint_as_float(0x4b000000u | sample) - 8388608.0f);
  return out;
}

// A number between the 8 of a cell's voxels, and its slopes; `rows`: weights along y and z.
struct Between {
  float value, slopes[3];
};

__device__ __forceinline__ Between Interpolate(const float at[8], const float f[3], const float rows[4]) {
  float along[4], slope[4];
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    slope[row] = at[2 * row + 1] - at[2 * row];
    along[row] = at[2 * row] + slope[row] * f[0];
  }
  const float y0 = along[1] - along[0], y1 = along[3] - along[2], lower = along[0] + y0 * f[1], upper = along[2] + y1 * f[1];
  const float x = rows[0] * slope[0] + rows[1] * slope[1] + rows[2] * slope[2] + rows[3] * slope[3];
  return {lower + (upper - lower) * f[2], {x, y0 + (y1 - y0) * f[2], upper - lower}};
}

// Adds the gradient of one sample of the cell to those of its voxels and of the pose. `shift` is 3.5 less the cell's index.
__device__ __forceinline__ void AddSample(const SampleRay& ray, const Pose& pose, float step_size, const float shift[3],
                                          const float4 voxels[8], float4 gradient[8], float sums[kPoseSums]) {
  const float v[3] = {ray.start.x + ray.n * ray.step.x, ray.start.y + ray.n * ray.step.y, ray.start.z + ray.n * ray.step.z};
  float y[3], f[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    y[i] = pose.matrix[3 * i] * v[0] + pose.matrix[3 * i + 1] * v[1] + pose.matrix[3 * i + 2] * v[2];
    f[i] = y[i] * 3.5f + shift[i];
  }
  const float opacity = Fade(y) * step_size;
  const float w11 = f[2] * f[1], w10 = f[2] - w11, w01 = f[1] - w11, w00 = 1.0f - f[2] - w01;
  const float rows[4] = {w00, w01, w10, w11};
  // Of a voxel only two numbers matter: its density, and its colour times the cotangent's.
  const float4& c = ray.cotangent;
  float density[8], product[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    density[i] = voxels[i].w;
    product[i] = voxels[i].x * c.x + voxels[i].y * c.y + voxels[i].z * c.z;
  }
  const Between colour = Interpolate(product, f, rows), dense = Interpolate(density, f, rows);
  // What a sample that saturates adds is what the others left, whatever its density.
  const float alpha = dense.value * opacity, d_alpha = colour.value + c.w;
  const float counted = ray.saturates ? ray.step.w : alpha, d_density = ray.saturates ? 0.0f : d_alpha * opacity;
  const float log_fade = ray.saturates ? 0.0f : d_alpha * alpha;
  const float4 g = make_float4(c.x * counted, c.y * counted, c.z * counted, d_density);
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    const float upper = rows[row] * f[0];
    AddScaled(&gradient[2 * row], g, rows[row] - upper);
    AddScaled(&gradient[2 * row + 1], g, upper);
  }
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float dy = (colour.slopes[i] * counted + dense.slopes[i] * d_density) * 3.5f + LogFadeGradient(y[i]) * log_fade;
    sums[i] += dy;
#pragma unroll
    for (int j = 0; j < 3; ++j) sums[3 + 3 * i + j] += dy * v[j];
  }
}

// Which of the tiles a warp takes; `turn` counts tiles.
template <int kWarps>
__device__ __forceinline__ unsigned TakeTurns(unsigned tiles, int warp, int* turn) {
  unsigned mine = 0;
  for (; tiles != 0; tiles &= tiles - 1) mine |= (*turn)++ % kWarps == warp ? tiles & -tiles : 0u;
  return mine;
}

// One round: up to 32 of the items, a lane each.
template <class Voxel>
__device__ __forceinline__ void AddItems(const Voxel* voxels, const Pose& pose, float step_size, int lane, int begin, int items,
                                         CellShared* shared, float sums[kPoseSums]) {
  const Chunk& chunk = shared->chunk;
  const bool mine = begin + lane < items;
  const unsigned item = chunk.cells[mine ? begin + lane : begin], last = item >> 3;
  unsigned entry = chunk.samples[last];
  const unsigned cell = entry & kSampleMask;
  const Voxel* lower = voxels + cell;
  float4 values[8], gradient[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    values[i] = WidenOnce(__ldg(lower + Corner(i)));
    gradient[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  const float shift[3] = {3.5f - static_cast<float>(cell & 7), 3.5f - static_cast<float>(cell >> 3 & 7),
                          3.5f - static_cast<float>(cell >> 6)};
  SampleRay next = LoadSampleRay(chunk, last, entry);
  for (int left = mine ? item & 7 : 0; left > 0; --left) {
    const SampleRay ray = next;
    const unsigned sample = entry >> kLink & kSampleMask;  // of the last one: any
    entry = chunk.samples[sample];
    next = LoadSampleRay(chunk, sample, entry);
    AddSample(ray, pose, step_size, shift, values, gradient, sums);
  }
  __syncwarp();
  // Lanes of the same cell take turns; those of different cells share no voxel at the same corner.
  const unsigned same = __match_any_sync(kAllLanes, mine ? cell : kVoxels + lane);
  const int turn = __popc(same & LanesBelow(lane)), turns = 1 - WarpLeast(-turn);
  float4* target = shared->gradient + cell;
  for (int t = 0; t < turns; ++t) {
    const bool now = mine && turn == t;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (now) {
        float4 sum = target[Corner(i)];
        AddScaled(&sum, gradient[i], 1.0f);
        target[Corner(i)] = sum;
      }
      __syncwarp();
    }
  }
}

// Where the samples of a warp's tiles go: gradient, pose, and how far the chunk is filled.
struct Progress {
  float sums[kPoseSums] = {};
  double total_sum = 0.0;
  int chunks = 0;
  bool any = false;
};

// Adds the gradients of a chunk's samples, and clears it.
template <class Voxel>
__device__ __forceinline__ void TakeChunk(const Voxel* voxels, const Pose& pose, float step_size, int lane, CellShared* own,
                                          Filled* filled, Progress* progress) {
  if (filled->samples == 0) return;
  if (!progress->any) {
    progress->any = true;
    for (int i = lane; i < kVoxels; i += kWarp) own->gradient[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  AwaitCopies();
  __syncwarp();
  BinSamples(pose, lane, *filled, &own->chunk);
  const int items = ListItems(lane, filled->samples, &own->chunk);
  for (int begin = 0; begin < items; begin += kWarp) {
    AddItems(voxels, pose, step_size, lane, begin, items, own, progress->sums);
  }
  ClearChunk(lane, &own->chunk, filled);
  __syncwarp();
  if (++progress->chunks % kChunksBetweenCollections == 0) CollectPose(lane, progress->sums, &progress->total_sum);
}

// Writes a primitive's gradient, and the sums that its pose's comes from: those of all warps, in order.
template <int kWarps, class Voxel>
__device__ __forceinline__ void WriteGradient(const Scratch& scratch, unsigned at, int lane, int warp, const Progress& progress,
                                              CellShared* all, Voxel* gradient) {
  CellShared* const own = all + warp;
  float* const pose_sums = scratch.pose_sums + static_cast<int64_t>(at) * kPoseSums;
  if (kWarps == 1) {
    if (IsPoseLane(lane)) pose_sums[PoseIndex(lane)] = static_cast<float>(progress.total_sum);
    for (int i = lane; i < kVoxels; i += kWarp) {
      StoreVoxel(gradient + i, progress.any ? own->gradient[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f));
    }
    return;
  }
  // The chunk's memory now holds what else the other warps must know.
  if (IsPoseLane(lane)) own->chunk.samples[PoseIndex(lane)] = __float_as_uint(static_cast<float>(progress.total_sum));
  if (lane == 0) own->chunk.heads[0] = progress.any;
  __syncthreads();
  if (threadIdx.x < kPoseSums) {
    float sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) sum += __uint_as_float(all[w].chunk.samples[threadIdx.x]);
    pose_sums[threadIdx.x] = sum;
  }
  for (int i = threadIdx.x; i < kVoxels; i += kWarps * kWarp) {
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int w = 0; w < kWarps; ++w) {
      if (all[w].chunk.heads[0]) AddScaled(&sum, all[w].gradient[i], 1.0f);
    }
    StoreVoxel(gradient + i, sum);
  }
}

// Of `kWarps` warps each takes one tile in so many, and has a copy of the gradient.
template <int kWarps, class Voxel>
__global__ void __launch_bounds__(kWarps* kWarp, kWarpsPerMultiprocessor / kWarps)
    DifferentiateSide8(Scene scene, Scratch scratch, Grid grid, Voxel* gradients) {
  AVA_DYNAMIC_SHARED(cell_memory);
  const int lane = threadIdx.x % kWarp, warp = kWarps == 1 ? 0 : threadIdx.x / kWarp;
  CellShared* const all = reinterpret_cast<CellShared*>(cell_memory);
  CellShared* const own = all + warp;
  const unsigned primitives = static_cast<unsigned>(scene.shape.primitives), frame = blockIdx.x / primitives;
  const int primitive = scratch.primitive_order[blockIdx.x];
  const unsigned at = frame * primitives + primitive;
  const Pose pose = LoadPose(scratch, at);
  const float4 sphere = scratch.spheres[at];
  const Voxel* voxels = Templates<Voxel>(scene) + static_cast<int64_t>(at) * kVoxels;
  Progress progress;
  Walk walk(frame, grid);
  Filled filled;
  float done = 0.0f;
  unsigned block = 0, tiles = 0;  // of the block: those to take yet
  int turn = 0;
  if (lane == 0 && warp == 0) Prefetch(voxels, kVoxels * sizeof(Voxel));
  ClearChunk(lane, &own->chunk, &filled);
  __syncwarp();
  for (bool more = true; more;) {
    PackedRay next = {};
    if (tiles != 0) next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
    for (;;) {
      if (tiles == 0) {
        more = walk.Next(scratch, sphere, pose, lane, &block, &tiles);
        if (!more) break;
        if (kWarps > 1) {
          tiles = TakeTurns<kWarps>(tiles, warp, &turn);
          if (tiles == 0) continue;
        }
        next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
      }
      const PackedRay ray = next;
      const unsigned rest = tiles & (tiles - 1);
      if (rest != 0) next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(rest), lane);
      if (!FillFromTile(scratch, ray, primitive, pose, lane, &done, &own->chunk, &filled)) break;
      tiles = rest;
    }
    TakeChunk(voxels, pose, scene.step_size, lane, own, &filled, &progress);
  }
  CollectPose(lane, progress.sums, &progress.total_sum);
  WriteGradient<kWarps>(scratch, at, lane, warp, progress, all, gradients + static_cast<int64_t>(at) * kVoxels);
}

template <int kWarps, class Voxel>
cudaError_t Launch(const Scene& scene, const Scratch& scratch, const Grid& grid, Voxel* gradients, cudaStream_t stream) {
  constexpr int kBytes = kWarps * sizeof(CellShared), kMostShared = 100;  // per cent
  const auto kernel = DifferentiateSide8<kWarps, Voxel>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, kMostShared);
  if (error != cudaSuccess) return error;
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames * scene.shape.primitives);
  LaunchKernel(kernel, blocks, kWarps * kWarp, kBytes, stream, scene, scratch, grid, gradients);
  return cudaGetLastError();
}

template <class Voxel>
cudaError_t LaunchForAll(const Scene& scene, const Scratch& scratch, const Grid& grid, Voxel* gradients, cudaStream_t stream) {
  const bool few = scene.shape.frames * scene.shape.primitives < kFourWarpPrimitives;
  return few ? Launch<4>(scene, scratch, grid, gradients, stream) : Launch<1>(scene, scratch, grid, gradients, stream);
}

}  // namespace

cudaError_t DifferentiateCells(const Scene& scene, const Scratch& scratch, const Grid& grid, const Gradient& gradient, cudaStream_t stream) {
  if (scene.rgba_bfloat16 != nullptr) return LaunchForAll(scene, scratch, grid, Templates<BfloatVoxel>(gradient), stream);
  return LaunchForAll(scene, scratch, grid, Templates<FloatVoxel>(gradient), stream);
}

}  // namespace raymarch
}  // namespace ava
