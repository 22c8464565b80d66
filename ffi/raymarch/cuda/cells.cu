// Gradients of templates of side 8. A warp owns a primitive's gradient, in shared memory. It takes samples a chunk at a time, sorts
// them by cell, and each lane takes a few of a cell: its voxels and their gradient stay in registers while the samples go by.
#include "backward.cuh"
#include "chunk.cuh"

namespace ava {
namespace raymarch {
namespace {

// So many chunks' sums of a lane are added in float32, then in float64.
constexpr int kChunksBetweenCollections = 4;
constexpr int kWarpsAMultiprocessor = 16;  // that registers must allow

__host__ __device__ constexpr int Corner(int i) { return (i >> 2) * 64 + (i >> 1 & 1) * 8 + (i & 1); }

struct CellShared {
  float4 gradient[kVoxels];
  Chunk chunk;
};

// A sample as its lane takes it from shared memory, one ahead.
struct SampleRay {
  float4 start, step, cotangent;
  float n;
};

__device__ __forceinline__ SampleRay LoadSampleRay(const Chunk& chunk, int sample, unsigned entry) {
  const unsigned ray = entry >> kLinkBits;
  SampleRay out = {chunk.start[ray], chunk.step[ray], chunk.cotangent[ray], 0.0f};
  // `sample` as a float, without the slow conversion.
  out.n = out.start.w + (__uint_as_float(0x4b000000u | static_cast<unsigned>(sample)) - 8388608.0f);
  return out;
}

// Adds the gradient of one sample of the cell to those of its voxels and of the pose. `shift` is 3.5 less the cell's place.
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
  float weights[8];
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    weights[2 * row + 1] = rows[row] * f[0];
    weights[2 * row] = rows[row] - weights[2 * row + 1];
  }
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int i = 0; i < 8; ++i) AddScaled(&value, voxels[i], weights[i]);
  // What a sample that saturates adds is what the others left, whatever its density.
  const bool plain = ray.step.w < 0.0f;
  const float4& c = ray.cotangent;
  const float alpha = value.w * opacity, counted = plain ? alpha : ray.step.w;
  const float d_alpha = value.x * c.x + value.y * c.y + value.z * c.z + c.w;
  const float log_fade = plain ? d_alpha * alpha : 0.0f;
  const float4 g = make_float4(c.x * counted, c.y * counted, c.z * counted, plain ? d_alpha * opacity : 0.0f);
  float d[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    d[i] = Dot(voxels[i], g);
    AddScaled(&gradient[i], g, weights[i]);
  }
  float dx = 0.0f, along[4];
#pragma unroll
  for (int row = 0; row < 4; ++row) {
    const float slope = d[2 * row + 1] - d[2 * row];
    dx += rows[row] * slope;
    along[row] = d[2 * row] + slope * f[0];
  }
  const float dy0 = along[1] - along[0], dy1 = along[3] - along[2], dz0 = along[2] - along[0], dz1 = along[3] - along[1];
  const float slopes[3] = {dx, dy0 + (dy1 - dy0) * f[2], dz0 + (dz1 - dz0) * f[1]};
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float dy = slopes[i] * 3.5f + LogFadeGradient(y[i]) * log_fade;
    sums[i] += dy;
#pragma unroll
    for (int j = 0; j < 3; ++j) sums[3 + 3 * i + j] += dy * v[j];
  }
}

// One round: up to 32 of the items, a lane each.
__device__ __forceinline__ void AddItems(const float4* voxels, const Pose& pose, float step_size, int lane, int begin, int items,
                                         CellShared* shared, float sums[kPoseSums]) {
  const Chunk& chunk = shared->chunk;
  const bool mine = begin + lane < items;
  const Item own = UnpackItem(chunk.cells[mine ? begin + lane : begin]);
  const float4* lower = voxels + own.cell;
  float4 values[8], gradient[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    values[i] = __ldg(lower + Corner(i));
    gradient[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  const float shift[3] = {3.5f - static_cast<float>(own.cell & 7), 3.5f - static_cast<float>(own.cell >> 3 & 7),
                          3.5f - static_cast<float>(own.cell >> 6)};
  unsigned entry = chunk.samples[own.last];
  SampleRay next = LoadSampleRay(chunk, own.last, entry);
  for (int left = mine ? own.count : 0; left > 0; --left) {
    const SampleRay ray = next;
    const int sample = entry & kLinkMask;  // of the last one: any
    entry = chunk.samples[sample];
    next = LoadSampleRay(chunk, sample, entry);
    AddSample(ray, pose, step_size, shift, values, gradient, sums);
  }
  __syncwarp();
  // Lanes of the same cell take turns; those of different cells share no voxel at the same corner.
  const unsigned same = __match_any_sync(kAllLanes, mine ? own.cell : kVoxels + lane);
  const int turn = __popc(same & LanesBelow(lane)), turns = 1 - WarpLeast(-turn);
  float4* target = shared->gradient + own.cell;
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

__global__ void __launch_bounds__(kWarp, kWarpsAMultiprocessor)
    DifferentiateSide8(Scene scene, Scratch scratch, Grid grid, float* gradients) {
  extern __shared__ float4 cell_memory[];
  const int lane = threadIdx.x;
  CellShared* own = reinterpret_cast<CellShared*>(cell_memory);
  const unsigned primitives = static_cast<unsigned>(scene.shape.primitives);
  const int64_t at = blockIdx.x;
  const unsigned frame = static_cast<unsigned>(at) / primitives;
  const int primitive = static_cast<int>(static_cast<unsigned>(at) % primitives);
  const Pose pose = LoadPose(scratch, at);
  const float4* voxels = reinterpret_cast<const float4*>(scene.rgba) + at * kVoxels;
  float sums[kPoseSums] = {};
  double total_sum = 0.0;
  int chunks = 0;
  bool any = false;
  Walk walk(frame, grid);
  Filled filled;
  float done = 0.0f;
  int64_t block = 0;
  unsigned tiles = 0;  // of the block: those to take yet
  ClearChunk(lane, &own->chunk, &filled);
  __syncwarp();
  for (bool more = true; more;) {
    PackedRay next = {};
    if (tiles != 0) next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
    for (;;) {
      if (tiles == 0) {
        more = walk.Next(scratch, grid, scratch.spheres[at], pose, lane, &block, &tiles);
        if (!more) break;
        next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
      }
      const PackedRay ray = next;
      const unsigned rest = tiles & (tiles - 1);
      if (rest != 0) next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(rest), lane);
      if (!FillFromTile(scratch, ray, primitive, pose, lane, &done, &own->chunk, &filled)) break;
      tiles = rest;
    }
    if (filled.samples == 0) continue;
    if (!any) {
      any = true;
      for (int i = lane; i < kVoxels; i += kWarp) own->gradient[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
    AwaitCopies();
    __syncwarp();
    const int whole = BinSamples(pose, lane, filled, &own->chunk), items = ListItems(lane, whole, &own->chunk);
    for (int begin = 0; begin < items; begin += kWarp) AddItems(voxels, pose, scene.step_size, lane, begin, items, own, sums);
    ClearChunk(lane, &own->chunk, &filled);
    __syncwarp();
    if (++chunks % kChunksBetweenCollections == 0) CollectPose(lane, sums, &total_sum);
  }
  CollectPose(lane, sums, &total_sum);
  if (lane < kPoseSums) scratch.pose_sums[at * kPoseSums + lane] = static_cast<float>(total_sum);
  float4* gradient = reinterpret_cast<float4*>(gradients) + at * kVoxels;
  for (int i = lane; i < kVoxels; i += kWarp) gradient[i] = any ? own->gradient[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

}  // namespace

cudaError_t DifferentiateCells(const Scene& scene, const Scratch& scratch, const Grid& grid, float* gradients, cudaStream_t stream) {
  constexpr int kBytes = sizeof(CellShared), kMostShared = 100;  // per cent
  cudaError_t error = cudaFuncSetAttribute(DifferentiateSide8, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) error = cudaFuncSetAttribute(DifferentiateSide8, cudaFuncAttributePreferredSharedMemoryCarveout, kMostShared);
  if (error != cudaSuccess) return error;
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames * scene.shape.primitives);
  DifferentiateSide8<<<blocks, kWarp, kBytes, stream>>>(scene, scratch, grid, gradients);
  return cudaGetLastError();
}

}  // namespace raymarch
}  // namespace ava
