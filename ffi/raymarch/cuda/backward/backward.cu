// Backward pass: before saturation compositing is a sum, so a primitive's gradient needs no other primitive. A thread block owns
// a primitive's gradient (or a slab of it) in shared memory and writes it once; each of its threads owns some of its voxels, so
// nothing is added atomically and the same bits come out of every run. cells.cu does templates of side 8 without a warp field.
#include <type_traits>

#include "../common/sample.cuh"
#include "backward.cuh"
#include "order.cuh"
#include "spread.cuh"
#include "stage.cuh"

namespace ava {
namespace raymarch {
namespace {

// So many samples of a lane are added in float32, then in float64.
constexpr int kBatchesBetweenCollections = 64;
constexpr size_t kSlabBytes = 32 << 10;

struct Ray {
  float4 rgb_alpha;
  float saturation;
  int saturation_step;
};

// Gradient of a sample's colour and density from those of the ray; *log_fade gets that of the logarithm of its fade.
__device__ __forceinline__ float4 SampleCotangent(const Ray& ray, int step, const float4& value, float opacity, float* log_fade) {
  const float4& g = ray.rgb_alpha;
  if (step == ray.saturation_step) {  // what it adds is what the others left, whatever its density
    *log_fade = 0.0f;
    return make_float4(g.x * ray.saturation, g.y * ray.saturation, g.z * ray.saturation, 0.0f);
  }
  const float alpha = value.w * opacity;
  const float d_alpha = value.x * g.x + value.y * g.y + value.z * g.z + g.w;
  *log_fade = d_alpha * alpha;
  return make_float4(g.x * alpha, g.y * alpha, g.z * alpha, d_alpha * opacity);
}

// Reads a sample, with or without a warp field, from global memory, and records its spread; dy gets dL/dy but for the fade.
template <class Voxel, bool kHasWarp, bool kToField>
__device__ __forceinline__ void ReadAndRecord(const Scene& scene, int64_t at, const Target& target, int slab_begin, const float y[3],
                                              const Ray& ray, int step, float opacity, SpreadBatch* spread, int slot, float dy[3],
                                              float* log_fade) {
  const int side = scene.shape.side;
  const Voxel* voxels = Templates<Voxel>(scene) + at * (side * side * side);
  const int warp_side = scene.shape.warp_side;
  const float* warp = scene.warp + at * (3 * warp_side * warp_side * warp_side);
  Cell field, cell;
  if (kHasWarp) {
    field = CellInside(y, warp_side);
    float u[3];
    ReadWarp(warp, warp_side, field, u);
    cell = CellAnywhere(u, side);
  } else {
    cell = CellInside(y, side);
  }
  const float4 g = SampleCotangent(ray, step, ReadCell(voxels, side, cell), opacity, log_fade);
  float du[3] = {0.0f, 0.0f, 0.0f};
  ForEachVoxel(cell, side, [&](int voxel, float, const float* slopes) {
    const float along = Dot(Widen(__ldg(voxels + voxel)), g) * (0.5f * static_cast<float>(side - 1));
    for (int i = 0; i < 3; ++i) du[i] += slopes[i] * along;
  });
  if (kHasWarp) {
    dy[0] = dy[1] = dy[2] = 0.0f;
    ForEachVoxel(field, warp_side, [&](int voxel, float, const float* slopes) {
      const float* w = warp + 3 * voxel;
      const float along = (__ldg(w) * du[0] + __ldg(w + 1) * du[1] + __ldg(w + 2) * du[2]) * (0.5f * static_cast<float>(warp_side - 1));
      for (int i = 0; i < 3; ++i) dy[i] += slopes[i] * along;
    });
  } else {
    for (int i = 0; i < 3; ++i) dy[i] = du[i];
  }
  if (kToField) {
    Record(field, make_float4(du[0], du[1], du[2], 0.0f), target, slab_begin, spread, slot);
  } else {
    Record(cell, g, target, slab_begin, spread, slot);
  }
}

// What a warp keeps in shared memory, beside the gradient.
struct WarpShared {
  Stage stage;
  SpreadBatch spread;
};

// The staged samples from `begin` on, one per lane: evaluates them and records how their gradients spread.
template <class Voxel, bool kHasWarp, bool kToField>
__device__ __forceinline__ void EvaluateBatch(const Scene& scene, int64_t at, const Target& target, int slab_begin, const Pose& pose,
                                              int lane, int begin, const Staged& staged, WarpShared* shared, float sums[kPoseSums]) {
  const Stage& stage = shared->stage;
  // The ray of a sample: the last one that begins at or before it.
  const int low = lane < staged.rays ? stage.offset[lane] : INT32_MAX;
  const int high = lane + kWarp < staged.rays ? stage.offset[lane + kWarp] : INT32_MAX;
  const int before = __popc(__ballot_sync(kAllLanes, low < begin)) + __popc(__ballot_sync(kAllLanes, high < begin));
  unsigned heads = (low >= begin && low < begin + kWarp ? 1u << (low - begin) : 0u) |
                   (high >= begin && high < begin + kWarp ? 1u << (high - begin) : 0u);
  heads = WarpOr(heads);
  const int slot = max(before + __popc(heads & (LanesBelow(lane) * 2 + 1)) - 1, 0);
  const float4 start = stage.start[slot], by = stage.step[slot];
  const Ray ray = {stage.cotangent[slot], by.w, stage.saturation[slot]};
  const float n = start.w + static_cast<float>(begin + lane - stage.offset[slot]);
  const int step = static_cast<int>(n);
  const float v[3] = {start.x + n * by.x, start.y + n * by.y, start.z + n * by.z};
  float y[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) y[i] = pose.matrix[3 * i] * v[0] + pose.matrix[3 * i + 1] * v[1] + pose.matrix[3 * i + 2] * v[2];
  // The sample that saturated the ray was inside, however y rounds here.
  bool valid = begin + lane < staged.samples && (Inside(y) || step == ray.saturation_step);
  if (!kHasWarp && slab_begin > 0) {  // the first slab takes all, for the pose
    const float z = (y[2] + 1.0f) * (0.5f * static_cast<float>(target.side - 1));
    valid = valid && z > static_cast<float>(slab_begin - 2) && z < static_cast<float>(slab_begin + target.slices + 1);
  }
  float dy[3] = {0.0f, 0.0f, 0.0f}, log_fade = 0.0f;
  if (valid) {
#pragma unroll
    for (int i = 0; i < 3; ++i) y[i] = fminf(fmaxf(y[i], -kInside), kInside);
    const float opacity = Fade(y) * scene.step_size;
    ReadAndRecord<Voxel, kHasWarp, kToField>(scene, at, target, slab_begin, y, ray, step, opacity, &shared->spread, lane, dy, &log_fade);
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const float d = dy[i] + LogFadeGradient(y[i]) * log_fade;
      sums[i] += d;
      for (int j = 0; j < 3; ++j) sums[3 + 3 * i + j] += d * v[j];
    }
  } else {
    shared->spread.even[lane] = shared->spread.odd[lane] = shared->spread.value[lane] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
}

// The gradient of a template's voxel, of a field's.
template <class Voxel>
__device__ __forceinline__ void StoreAt(int64_t at, const float4& sum, Voxel* gradient) {
  StoreVoxel(gradient + at, sum);
}
__device__ __forceinline__ void StoreAt(int64_t at, const float4& sum, float* gradient) {
  gradient[3 * at] = sum.x, gradient[3 * at + 1] = sum.y, gradient[3 * at + 2] = sum.z;
}

// Writes the gradient of one slab.
template <class Out>
__device__ __forceinline__ void WriteSlab(const float* own, const Target& target, int slab_begin, Out* gradient, bool any) {
  const int side = target.side, half = target.half, slices = min(target.slices, side - slab_begin);
  for (int i = threadIdx.x; i < slices * side * side; i += kWarp) {
    const int x = i % side, y = i / side % side, z = i / (side * side);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (any) {
      const int cell = ((z >> 1) * half + (y >> 1)) * half + (x >> 1), class_index = (x & 1) | (y & 1) << 1 | (z & 1) << 2;
      sum = reinterpret_cast<const float4*>(own)[cell * kClasses + class_index];
    }
    const int64_t at = static_cast<int64_t>(slab_begin) * side * side + i;
    StoreAt(at, sum, gradient);
  }
}

// The gradient of templates, or of fields: `Out` is a voxel's or float.
template <class Voxel, bool kHasWarp, class Out>
__global__ void __launch_bounds__(kWarp) Differentiate(Scene scene, Scratch scratch, Grid grid, Target target, Out* gradients) {
  constexpr bool kToField = std::is_same_v<Out, float>;
  AVA_DYNAMIC_SHARED(memory);
  const int lane = threadIdx.x;
  float* accumulated = reinterpret_cast<float*>(memory);
  WarpShared* own = reinterpret_cast<WarpShared*>(accumulated + target.cells * kWarp);
  const unsigned primitives = static_cast<unsigned>(scene.shape.primitives);
  const int64_t at = blockIdx.x / target.slabs;
  const int slab = blockIdx.x % target.slabs, slab_begin = slab * target.slices;
  const unsigned frame = static_cast<unsigned>(at) / primitives;
  const int primitive = static_cast<int>(static_cast<unsigned>(at) % primitives);
  const Pose pose = LoadPose(scratch, at);
  const Owner owner(lane, accumulated);
  float sums[kPoseSums] = {};
  double total_sum = 0.0;
  int batches = 0;  // since the sums were collected
  bool any = false;
  Staged staged;
  const auto process = [&](int begin) {
    EvaluateBatch<Voxel, kHasWarp, kToField>(scene, at, target, slab_begin, pose, lane, begin, staged, own, sums);
    __syncwarp();
    owner.Add(own->spread, min(staged.samples - begin, kWarp), target);
    __syncwarp();
    if (++batches < kBatchesBetweenCollections) return;
    CollectPose(lane, sums, &total_sum);
    batches = 0;
  };
  Walk walk(frame, grid);
  unsigned block;
  unsigned tiles;
  while (walk.Next(scratch, scratch.spheres[at], pose, lane, &block, &tiles)) {
    if (!any) {
      any = true;
      for (int i = lane; i < target.cells * kClasses; i += kWarp) {
        reinterpret_cast<float4*>(accumulated)[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      }
      __syncwarp();
    }
    PackedRay next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
    while (tiles != 0) {
      const PackedRay ray = next;
      tiles &= tiles - 1;
      if (tiles != 0) next = LoadPacked(scratch, block * kBlockTileCount + FirstLane(tiles), lane);
      StageTile(scratch, ray, primitive, pose, lane, &own->stage, &staged);
      int begin = 0;
      for (; staged.samples - begin >= kWarp; begin += kWarp) process(begin);
      if (begin > 0) Carry(lane, begin, &own->stage, &staged);
    }
  }
  if (staged.samples > 0) process(0);
  CollectPose(lane, sums, &total_sum);
  __syncwarp();
  const int64_t volume = static_cast<int64_t>(target.side) * target.side * target.side;
  WriteSlab(accumulated, target, slab_begin, gradients + at * volume * (kToField ? 3 : 1), any);
  // Every slab sees all samples; the first writes the pose.
  if (!kToField && slab == 0 && IsPoseLane(lane)) scratch.pose_sums[at * kPoseSums + PoseIndex(lane)] = static_cast<float>(total_sum);
}

// y_i = scale_i sum_j rotation_ji v_j.
__global__ void __launch_bounds__(256) WritePoses(Scene scene, Scratch scratch, Gradient gradient, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (at >= count) return;
  const float* sums = scratch.pose_sums + at * kPoseSums;
  const Pose pose = LoadPose(scratch, at);
  const float *rotation = scene.rotation + 9 * at, *scale = scene.scale + 3 * at;
  bool none = true;
  for (int i = 0; i < kPoseSums; ++i) none = none && sums[i] == 0.0f;
  for (int i = 0; i < 3; ++i) {
    double position = 0.0, along = 0.0;
    for (int j = 0; j < 3; ++j) {
      position -= static_cast<double>(pose.matrix[3 * j + i]) * sums[j];
      along += static_cast<double>(rotation[3 * j + i]) * sums[3 + 3 * i + j];
      gradient.rotation[9 * at + 3 * j + i] = none ? 0.0f : scale[i] * sums[3 + 3 * i + j];
    }
    // A pose that is not finite holds no sample: its gradient is 0, not NaN.
    gradient.position[3 * at + i] = none ? 0.0f : static_cast<float>(position);
    gradient.scale[3 * at + i] = none ? 0.0f : static_cast<float>(along);
  }
}

Target MakeTarget(int side) {
  Target t;
  t.side = side;
  t.half = (side + 1) / 2;
  const int pairs = (side + 1) / 2;  // of slices
  const int64_t pair_bytes = int64_t{t.half} * t.half * kWarp * 4;
  int kept = static_cast<int>(static_cast<int64_t>(kSlabBytes) / pair_bytes);
  kept = kept < 1 ? 1 : (kept > pairs ? pairs : kept);
  t.slices = 2 * kept;
  t.slabs = (pairs + kept - 1) / kept;
  t.cells = t.half * t.half * kept;
  return t;
}

template <class Voxel, bool kHasWarp, class Out>
cudaError_t Launch(const Scene& scene, const Scratch& scratch, const Grid& grid, int side, Out* gradients, cudaStream_t stream) {
  const auto kernel = Differentiate<Voxel, kHasWarp, Out>;
  const Target target = MakeTarget(side);
  const size_t bytes = size_t{4} * target.cells * kWarp + sizeof(WarpShared);
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  const unsigned blocks = static_cast<unsigned>(scene.shape.frames * scene.shape.primitives * target.slabs);
  LaunchKernel(kernel, blocks, kWarp, bytes, stream, scene, scratch, grid, target, gradients);
  return cudaGetLastError();
}

Scratch CarveBackward(Carver* carver, const Shape& s) {
  const Grid g = MakeGrid(s);
  Scratch out = CarveCommon(carver, s);
  const int64_t rays = s.frames * g.tiles * kWarp;
  out.ray_start = carver->Take<float4>(rays);
  out.ray_step = carver->Take<float4>(rays);
  out.ray_cotangent = carver->Take<float4>(rays);
  out.ray_saturation = carver->Take<int2>(rays);
  out.pose_sums = carver->Take<float>(s.frames * s.primitives * kPoseSums);
  out.primitive_order = carver->Take<int32_t>(s.frames * s.primitives);
  return out;
}

// Gradients of templates and warp fields, and the sums of poses.
template <class Voxel>
cudaError_t LaunchForAll(const Scene& scene, const Scratch& scratch, const Grid& grid, const Gradient& gradient, cudaStream_t stream) {
  const Shape& s = scene.shape;
  Voxel* const templates = Templates<Voxel>(gradient);
  if (scene.warp == nullptr) return Launch<Voxel, false>(scene, scratch, grid, s.side, templates, stream);
  const cudaError_t error = Launch<Voxel, true>(scene, scratch, grid, s.side, templates, stream);
  if (error != cudaSuccess) return error;
  return Launch<Voxel, true>(scene, scratch, grid, s.warp_side, gradient.warp, stream);
}

}  // namespace

int64_t CudaBackwardScratch(const Shape& shape) {
  Carver carver(nullptr);
  CarveBackward(&carver, shape);
  return carver.used();
}

cudaError_t CudaBackward(const Scene& scene, const Cotangent& cotangent, const Gradient& gradient, float* memory,
                         cudaStream_t stream) {
  const Shape& s = scene.shape;
  const Grid grid = MakeGrid(s);
  const int64_t count = s.frames * s.primitives;
  if (count == 0) return cudaSuccess;
  Carver carver(memory);
  const Scratch scratch = CarveBackward(&carver, s);
  Prepare(scene, &cotangent, scratch, stream);
  OrderPrimitives(scene, scratch, grid, stream);
  cudaError_t error;
  if (scene.warp == nullptr && s.side == 8) {
    error = DifferentiateCells(scene, scratch, grid, gradient, stream);
  } else if (scene.rgba_bfloat16 != nullptr) {
    error = LaunchForAll<BfloatVoxel>(scene, scratch, grid, gradient, stream);
  } else {
    error = LaunchForAll<FloatVoxel>(scene, scratch, grid, gradient, stream);
  }
  if (error != cudaSuccess) return error;
  LaunchKernel(WritePoses, static_cast<unsigned>(DivideUp(count, 256)), 256, 0, stream, scene, scratch, gradient, count);
  return cudaGetLastError();
}

}  // namespace raymarch
}  // namespace ava
