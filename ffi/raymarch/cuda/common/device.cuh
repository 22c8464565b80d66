// What the CUDA kernels share: a scene's scratch arrays, cones of rays, and march.h for device code.
//
// Rays come in tiles of 8 x 4 (a warp), 32 tiles to a block of 32 x 32 pixels, 16 blocks to a region of 128 x 128. A region that
// reaches over the image's edge has blocks, and a block tiles, that hold no ray.
#pragma once

#include <cstdint>

#include "../../params.h"
#include "limits.h"
#include "portable.cuh"

namespace ava {
namespace raymarch {
namespace {

__device__ __forceinline__ float Min(float a, float b) { return fminf(a, b); }
__device__ __forceinline__ float Max(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ float Truncate(float x) { return truncf(x); }

}  // namespace
}  // namespace raymarch
}  // namespace ava

#include "../../march.h"

namespace ava {
namespace raymarch {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kTileWidth = 8, kTileHeight = 4;
constexpr int kCudaBlockSide = 32;      // pixels
constexpr int kBlockTileCount = 32;     // 4 across, 8 down
constexpr int kRegionBlocks = 4;        // along a side
constexpr int kRegionBlockCount = kRegionBlocks * kRegionBlocks;
constexpr int kListCapacity = Limit(2048, 48);  // primitives listed for a block; one that meets more looks through all

// Rays of a frame in regions [N, regions_y, regions_x], blocks and tiles numbered within: block b belongs to region b / 16.
struct Grid {
  int64_t regions_y, regions_x, regions, blocks, tiles;  // the last three: of all views of a frame
};

// Cones of one level of the hierarchy, one float4 array per part.
struct Cones {
  float4 *apex_sine, *axis_cosine, *reach, *steps;
};

// Scratch of all frames. The arrays of the forward or of the backward pass are null in the other.
struct Scratch {
  float4* spheres;   // [F, K]: centre, radius (NaN: holds no point)
  float4* matrices;  // [F, K, 3]: rows of diag(scale) rotation^T
  float4* clusters;  // [F, DivideUp(K, 32)]: spheres around those of 32 primitives each, as of one
  Cones tiles, blocks, regions;
  int32_t* list_counts;  // [F, blocks]; -1: more than kListCapacity
  int32_t* lists;        // [F, blocks, capacity]
  float* lengths;        // [F, blocks]: of a block's longest tile to march, by some measure
  int32_t* order;        // [F x blocks]: those with the longest tiles first
  int32_t* listed;       // [1]: thread blocks that are done listing
  int32_t* marched;      // [2]: blocks of pixels that list anything; chunks that were drawn beside the first of each thread block
  float4 *ray_start, *ray_step, *ray_cotangent;  // [F, tiles, 32]: (start, steps), (step, saturation), (rgb, alpha)
  int2* ray_saturation;                          // [F, tiles, 32]: step, primitive
  float* pose_sums;                              // [slabs, F, K, 12]
  int32_t* primitive_order;                      // [F, K]: those that probably take longest first
};

__host__ __device__ inline int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline Grid MakeGrid(const Shape& s) {
  Grid g;
  g.regions_y = DivideUp(s.height, kCudaBlockSide * kRegionBlocks);
  g.regions_x = DivideUp(s.width, kCudaBlockSide * kRegionBlocks);
  g.regions = s.views * g.regions_y * g.regions_x;
  g.blocks = g.regions * kRegionBlockCount;
  g.tiles = g.blocks * kBlockTileCount;
  return g;
}

inline int64_t ListCapacity(const Shape& s) { return s.primitives < kListCapacity ? s.primitives : kListCapacity; }

// Hands out parts of the scratch buffer, or only counts them.
class Carver {
 public:
  explicit Carver(float* memory) : memory_(memory) {}
  template <class T>
  T* Take(int64_t count) {
    T* out = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += DivideUp(count * static_cast<int64_t>(sizeof(T)), 64) * 16;
    return out;
  }
  Cones TakeCones(int64_t count) {
    Cones c;
    c.apex_sine = Take<float4>(count);
    c.axis_cosine = Take<float4>(count);
    c.reach = Take<float4>(count);
    c.steps = Take<float4>(count);
    return c;
  }
  int64_t used() const { return used_; }  // floats

 private:
  float* memory_;
  int64_t used_ = 0;
};

inline Scratch CarveCommon(Carver* carver, const Shape& s) {
  const Grid g = MakeGrid(s);
  Scratch out = {};
  out.spheres = carver->Take<float4>(s.frames * s.primitives);
  out.matrices = carver->Take<float4>(s.frames * s.primitives * 3);
  out.tiles = carver->TakeCones(s.frames * g.tiles);
  out.blocks = carver->TakeCones(s.frames * g.blocks);
  out.regions = carver->TakeCones(s.frames * g.regions);
  return out;
}

// A tile's, block's or region's rays: they start within `radius` of the apex and stay within the half-angle of the axis.
struct Cone {
  float3 apex, axis;
  float sine, cosine;
  float radius;  // negative: no ray; infinite: touches everything
  float far;     // largest distance of a sample from its ray's origin
  // Of the rays: distance of sample 0 from the origin, and between samples.
  float base_min, base_max, step_min, step_max;
};

__device__ __forceinline__ Cone LoadCone(const Cones& cones, int64_t i) {
  const float4 a = cones.apex_sine[i], b = cones.axis_cosine[i], c = cones.reach[i], d = cones.steps[i];
  return {make_float3(a.x, a.y, a.z), make_float3(b.x, b.y, b.z), a.w, b.w, c.x, c.y, d.x, d.y, d.z, d.w};
}

__device__ __forceinline__ void StoreCone(const Cones& cones, int64_t i, const Cone& c) {
  cones.apex_sine[i] = make_float4(c.apex.x, c.apex.y, c.apex.z, c.sine);
  cones.axis_cosine[i] = make_float4(c.axis.x, c.axis.y, c.axis.z, c.cosine);
  cones.reach[i] = make_float4(c.radius, c.far, 0.0f, 0.0f);
  cones.steps[i] = make_float4(c.base_min, c.base_max, c.step_min, c.step_max);
}

// Whether rays of the cone may meet the sphere before they end: never false when one does. `nearest` and `farthest` bound the
// distances from the rays' origins at which they do.
__device__ __forceinline__ bool Touches(const Cone& cone, float4 sphere, float* nearest, float* farthest) {
  const float x = sphere.x - cone.apex.x, y = sphere.y - cone.apex.y, z = sphere.z - cone.apex.z;
  const float along = x * cone.axis.x + y * cone.axis.y + z * cone.axis.z;
  const float cx = y * cone.axis.z - z * cone.axis.y, cy = z * cone.axis.x - x * cone.axis.z, cz = x * cone.axis.y - y * cone.axis.x;
  const float square = cx * cx + cy * cy + cz * cz;
  const float across = SquareRoot(square), distance = SquareRoot(square + along * along);
  const float reach = (sphere.w + cone.radius) + distance * 4e-6f;
  *nearest = along * cone.cosine - across * cone.sine - reach;
  *farthest = distance + reach;
  return cone.radius >= 0.0f && across * cone.cosine - along * cone.sine <= reach && along >= -reach &&
         !(*nearest > cone.far);
}

__device__ __forceinline__ Pose LoadPose(const Scratch& scratch, int64_t at) {
  const float4 p = scratch.spheres[at], a = scratch.matrices[3 * at], b = scratch.matrices[3 * at + 1],
               c = scratch.matrices[3 * at + 2];
  return {{p.x, p.y, p.z}, {a.x, a.y, a.z, b.x, b.y, b.z, c.x, c.y, c.z}};
}

// How far a cone's rays spread, more closely: along `across` and `down`, which are at right angles to its axis and each other, their
// directions, of length 1, have components of at most `width` and `height`. Not a number where that is not known.
struct Spread {
  float3 across, down;
  float width, height;
};

__device__ __forceinline__ Spread NoSpread() {
  return {make_float3(0.0f, 0.0f, 0.0f), make_float3(0.0f, 0.0f, 0.0f), NAN, NAN};
}

__device__ __forceinline__ float Dot3(const float* row, const float3& v) { return row[0] * v.x + row[1] * v.y + row[2] * v.z; }

// Whether the box lies beside all rays that go no farther than `reach`, seen along `across` or `down`. `v` is the cone's apex relative to the
// box's centre, `lengths` are those of the matrix's rows. The box's half-axes are the columns of the matrix's inverse, whatever the matrix.
__device__ __forceinline__ bool MissesShadow(const Cone& cone, const Spread& rays, const float* matrix, const float v[3],
                                             const float lengths[3], float reach) {
  float width = 0.0f, height = 0.0f, size = 0.0f, determinant = 0.0f;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float *a = matrix + (i + 1) % 3 * 3, *b = matrix + (i + 2) % 3 * 3;
    const float axis[3] = {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};  // times the determinant
    width += fabsf(Dot3(axis, rays.across)), height += fabsf(Dot3(axis, rays.down));
    size += lengths[(i + 1) % 3] * lengths[(i + 2) % 3];
    if (i == 0) determinant = fabsf(matrix[0] * axis[0] + matrix[1] * axis[1] + matrix[2] * axis[2]);
  }
  if (!(determinant > 0.01f * lengths[0] * lengths[1] * lengths[2])) return false;  // almost flat: rounding could hide it
  const float inverse = Reciprocal(determinant), x = fabsf(Dot3(v, rays.across)), y = fabsf(Dot3(v, rays.down));
  const float slack = cone.radius + size * inverse * 1e-4f + (x + y + reach) * 4e-6f;
  return x > width * inverse + rays.width * reach + slack || y > height * inverse + rays.height * reach + slack;
}

// Whether rays of the cone may meet the box: narrows the distances that Touches found. In box coordinates no ray is farther from
// the cone's axis, at equal distances from their origins, than `spread` times the length of the matrix's row.
template <bool kClosely>
__device__ __forceinline__ bool TouchesBox(const Cone& cone, const Spread& rays, const Pose& pose, float* nearest, float* farthest) {
  const float flat = 1.000001f - cone.cosine, reach = *farthest * 1.00001f;
  float lengths[3];
  const float spread = cone.radius + *farthest * cone.sine * rsqrtf(0.5f + 0.5f * cone.cosine) * 1.00001f;
  const float v[3] = {cone.apex.x - pose.position[0], cone.apex.y - pose.position[1], cone.apex.z - pose.position[2]};
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float* row = pose.matrix + 3 * i;
    const float start = row[0] * v[0] + row[1] * v[1] + row[2] * v[2];
    const float slope = row[0] * cone.axis.x + row[1] * cone.axis.y + row[2] * cone.axis.z;
    const float length = SquareRoot(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
    const float size = fabsf(row[0] * v[0]) + fabsf(row[1] * v[1]) + fabsf(row[2] * v[2]);
    lengths[i] = length;
    float grown = spread * length;
    if constexpr (kClosely) {
      const float x = fabsf(Dot3(row, rays.across)), y = fabsf(Dot3(row, rays.down));
      grown = fminf(cone.radius * length + reach * (rays.width * x + rays.height * y + flat * fabsf(slope)), grown);
    }
    const float bound = 1.0001f + grown + size * 2e-6f;
    const float inverse = Reciprocal(slope), a = (-bound - start) * inverse, b = (bound - start) * inverse;
    *nearest = fmaxf(fminf(a, b), *nearest);  // a NaN bounds nothing
    *farthest = fminf(fmaxf(a, b), *farthest);
  }
  if (kClosely && MissesShadow(cone, rays, pose.matrix, v, lengths, reach)) return false;
  return !(*nearest > *farthest) && !(*nearest > cone.far);
}

__device__ __forceinline__ bool TouchesBox(const Cone& cone, const Pose& pose, float* nearest, float* farthest) {
  return TouchesBox<false>(cone, Spread(), pose, nearest, farthest);
}

// Tiles of a block are numbered in Z-order, so that those that follow each other share primitives. Row and column of a tile among 8
// and 4: bits 0, 2 of its number are the column's, bits 1, 3, 4 the row's.
__device__ __forceinline__ int TileColumn(int tile) { return (tile & 1) | (tile >> 1 & 2); }
__device__ __forceinline__ int TileRow(int tile) { return (tile >> 1 & 1) | (tile >> 2 & 6); }

// The first pixel of a block: in which view of its frame, at which row and column.
struct BlockCorner {
  unsigned view;
  int row, column;
};

__device__ __forceinline__ BlockCorner CornerOfBlock(const Grid& g, unsigned block) {
  const unsigned region = block / kRegionBlockCount;
  const int in_region = block % kRegionBlockCount;
  const unsigned across = static_cast<unsigned>(g.regions_x), down = static_cast<unsigned>(g.regions_y);
  const unsigned line = region / across, view = line / down;  // a line of regions, of all views
  const int row = (line - view * down) * kRegionBlocks + in_region / kRegionBlocks;
  const int column = (region - line * across) * kRegionBlocks + in_region % kRegionBlocks;
  return {view, row * kCudaBlockSide, column * kCudaBlockSide};
}

// Index in [F, N, H, W] of a view's pixel, or -1 outside of the image.
__device__ __forceinline__ int64_t ViewPixel(const Shape& s, int64_t frame, unsigned view, int row, int column) {
  if (row >= s.height || column >= s.width) return -1;
  return ((frame * s.views + view) * s.height + row) * s.width + column;
}

// Pixel of a tile's lane; its index in [F, N, H, W], or -1 outside of the image. The tile is one of the frame's.
__device__ __forceinline__ int64_t PixelIndex(const Shape& s, const Grid& g, int64_t frame, unsigned tile, int lane) {
  const BlockCorner corner = CornerOfBlock(g, tile / kBlockTileCount);
  const int in_block = tile % kBlockTileCount;
  const int row = corner.row + TileRow(in_block) * kTileHeight + lane / kTileWidth;
  const int column = corner.column + TileColumn(in_block) * kTileWidth + lane % kTileWidth;
  return ViewPixel(s, frame, corner.view, row, column);
}

// A ray as it is marched: sample n, 0 <= n < count, lies at start + n step.
struct MarchRay {
  float start[3], step[3];
  float count;
};

__device__ __forceinline__ bool Finite(const float* v) { return isfinite(v[0]) && isfinite(v[1]) && isfinite(v[2]); }

// The least whole n with n step >= length > 0: those products are exact in double. At most kMaxSteps.
__device__ __forceinline__ float CountSteps(double length, float step) {
  const float about = ceilf(static_cast<float>(length) / step);  // 1 off at most
  if (!(about < static_cast<float>(kMaxSteps))) return static_cast<float>(kMaxSteps);
  float n = about - 1.0f;
  for (int i = 0; i < 2; ++i) {
    if (static_cast<double>(n) * step < length) n += 1.0f;
  }
  return n;
}

// A ray as the scene has it.
struct SceneRay {
  float3 origin, direction;
  float2 bounds;
};

__device__ __forceinline__ float3 Load3(const float* from) { return make_float3(from[0], from[1], from[2]); }

__device__ __forceinline__ bool HasSamples(const SceneRay& ray) {
  const float origin[3] = {ray.origin.x, ray.origin.y, ray.origin.z}, direction[3] = {ray.direction.x, ray.direction.y, ray.direction.z};
  const bool moves = ray.direction.x != 0.0f || ray.direction.y != 0.0f || ray.direction.z != 0.0f;
  return Finite(origin) && Finite(direction) && moves && ray.bounds.x < ray.bounds.y && isfinite(ray.bounds.x);
}

// One that has no samples, where there is no pixel.
__device__ __forceinline__ SceneRay LoadSceneRay(const Scene& scene, int64_t pixel) {
  if (pixel < 0) return {};
  return {Load3(scene.origin + 3 * pixel), Load3(scene.direction + 3 * pixel), reinterpret_cast<const float2*>(scene.bounds)[pixel]};
}

__device__ __forceinline__ MarchRay MakeMarchRay(const SceneRay& seen, float step_size) {
  MarchRay ray = {};
  if (!HasSamples(seen)) return ray;
  const float origin[3] = {seen.origin.x, seen.origin.y, seen.origin.z}, direction[3] = {seen.direction.x, seen.direction.y, seen.direction.z};
  const double near = seen.bounds.x;
  ray.count = CountSteps(seen.bounds.y - near, step_size);
  for (int i = 0; i < 3; ++i) {
    // In double: origin and depth are a few times larger than the volume, and cancel.
    ray.start[i] = static_cast<float>(origin[i] + near * direction[i]);
    ray.step[i] = direction[i] * step_size;
  }
  return ray;
}

// Poses, spheres and the cones of tiles and blocks; with a cotangent also the rays as the backward pass reads them.
void Prepare(const Scene& scene, const Cotangent* cotangent, const Scratch& scratch, cudaStream_t stream);

// Lists of at most `capacity` primitives for each block.
void List(const Scene& scene, const Scratch& scratch, int capacity, cudaStream_t stream);

__device__ __forceinline__ int FirstLane(unsigned mask) { return __ffs(mask) - 1; }

__device__ __forceinline__ unsigned LanesBelow(int lane) { return (1u << lane) - 1u; }

// Of the lanes up to this one.
__device__ __forceinline__ int InclusiveSum(int x, int lane) {
#pragma unroll
  for (int i = 1; i < kWarp; i *= 2) {
    const int below = __shfl_up_sync(kAllLanes, x, i);
    if (lane >= i) x += below;
  }
  return x;
}

__device__ __forceinline__ unsigned WarpOr(unsigned x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_or_sync(kAllLanes, x);
#else
  for (int i = 16; i > 0; i /= 2) x |= __shfl_xor_sync(kAllLanes, x, i);
  return x;
#endif
}

__device__ __forceinline__ int WarpLeast(int x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(kAllLanes, x);
#else
  for (int i = 16; i > 0; i /= 2) x = min(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
#endif
}

}  // namespace raymarch
}  // namespace ava
