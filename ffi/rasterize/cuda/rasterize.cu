// A warp a triangle takes the least key of depth and index at every pixel that the triangle covers. Triangles with large boxes are put on
// a list, and all blocks draw them together afterwards. Then each pixel finds where it lies on its triangle.
//
// Until then the results serve as scratch: the keys (8 bytes a pixel) lie in the barycentrics (12 bytes a pixel), the list in the index,
// its length in the first depth. What finds no place on the list is drawn by its warp alone.
#include "cuda.h"

#include "../geometry.h"

namespace ava {
namespace rasterize {
namespace {

constexpr int kWarp = 32, kWarpsPerBlock = 4, kThreads = kWarp * kWarpsPerBlock;
constexpr int kTileWidth = 8, kTileHeight = 4;
constexpr int64_t kManyTiles = 64;
constexpr int64_t kMostLarge = 4096;  // all warps prepare each of these; many more keep their own warps busy
constexpr unsigned kBlocksOfLarge = 1024;
constexpr unsigned long long kNothing = ~0ull;

struct Job {
  Scene scene;
  Range range;
  const int32_t* behind_index;
  const float* behind_depth;
  unsigned long long* keys;
  uint2* list;
  unsigned* listed;
  unsigned capacity;
};

// In the order of the depths, negative ones too; of equal depths the lower index comes first.
__device__ __forceinline__ unsigned long long KeyOf(float depth, int32_t index) {
  const unsigned bits = __float_as_uint(depth == 0.0f ? 0.0f : depth);
  const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ordered) << 32 | static_cast<unsigned>(index);
}

__device__ __forceinline__ float DepthOf(unsigned long long key) {
  const unsigned ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

struct Drawn {
  Triangle triangle;
  Box box;
  int64_t image, tiles_across, tiles;
  int32_t index;
};

__device__ __forceinline__ bool Prepare(const Job& job, int64_t image, int64_t triangle, Drawn* d) {
  const Scene& s = job.scene;
  Vertex v[3];
  if (!MakeCorners(s, image, triangle, job.range, v)) return false;
  d->box = MakeBox(v[0], v[1], v[2], job.range, s.height, s.width);
  if (d->box.row_last < d->box.row_first || !MakeTriangle(v[0], v[1], v[2], job.range, &d->triangle)) return false;
  d->image = image;
  d->index = static_cast<int32_t>(triangle);
  d->tiles_across = (d->box.column_last - d->box.column_first) / kTileWidth + 1;
  d->tiles = d->tiles_across * ((d->box.row_last - d->box.row_first) / kTileHeight + 1);
  return true;
}

// Tiles `first`, `first` + `step`, ...: a lane a pixel.
__device__ __forceinline__ void Draw(const Job& job, const Drawn& d, int64_t first, int64_t step) {
  const Scene& s = job.scene;
  const int lane = threadIdx.x % kWarp;
  for (int64_t tile = first; tile < d.tiles; tile += step) {
    const int32_t row = d.box.row_first + static_cast<int32_t>(tile / d.tiles_across) * kTileHeight + lane / kTileWidth;
    const int32_t column = d.box.column_first + static_cast<int32_t>(tile % d.tiles_across) * kTileWidth + lane % kTileWidth;
    if (row > d.box.row_last || column > d.box.column_last) continue;
    double value[3];
    bool inside = true;
    for (int i = 0; i < 3; ++i) {
      const Edge& e = d.triangle.edge[i];
      value[i] = EdgeAt(e, column, EdgeRow(e, row));
      inside = inside && Covers(e, value[i]);
    }
    if (!inside) continue;
    const double far = DepthAt(d.triangle, value, job.range);
    if (!(far >= job.range.low && far <= job.range.high)) continue;
    const float depth = static_cast<float>(far);
    const int64_t at = (d.image * s.height + row) * s.width + column;
    if (job.behind_index != nullptr) {
      const int32_t i = job.behind_index[at];
      const float b = job.behind_depth[at];
      if (!(i >= 0 && (depth > b || (depth == b && d.index > i)))) continue;
    }
    const unsigned long long key = KeyOf(depth, d.index);
    if (key < job.keys[at]) atomicMin(job.keys + at, key);
  }
}

__global__ void Clear(Job job, int64_t pixels) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at == 0) *job.listed = 0;
  if (at < pixels) job.keys[at] = kNothing;
}

__global__ void DrawAll(Job job) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
  if (warp >= job.scene.batch * job.scene.triangles) return;
  Drawn d;
  if (!Prepare(job, warp / job.scene.triangles, warp % job.scene.triangles, &d)) return;
  if (d.tiles > kManyTiles) {
    unsigned place = 0;
    if (threadIdx.x % kWarp == 0) place = atomicAdd(job.listed, 1u);
    place = __shfl_sync(0xffffffffu, place, 0);
    if (place < job.capacity) {
      if (threadIdx.x % kWarp == 0) job.list[place] = make_uint2(static_cast<unsigned>(d.image), static_cast<unsigned>(d.index));
      return;
    }
  }
  Draw(job, d, 0, 1);
}

__global__ void DrawLarge(Job job) {
  const unsigned count = min(*job.listed, job.capacity);
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarpsPerBlock;
  // Whoever is `turn`th for one triangle is that for the next one after those who had a tile of this one: short ones go side by side.
  int64_t before = 0;
  for (unsigned i = 0; i < count; ++i) {
    Drawn d;
    const uint2 entry = job.list[i];
    if (!Prepare(job, entry.x, entry.y, &d)) continue;
    Draw(job, d, ((warp - before) % warps + warps) % warps, warps);
    before = (before + d.tiles) % warps;
  }
}

__global__ void Name(Job job, int64_t pixels, int32_t* index, float* depth) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  const unsigned long long key = job.keys[at];
  index[at] = key == kNothing ? -1 : static_cast<int32_t>(key & 0xffffffffu);
  depth[at] = key == kNothing ? 0.0f : DepthOf(key);
}

__global__ void Locate(Job job, int64_t pixels, const int32_t* index, float* barycentrics) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  const Scene& s = job.scene;
  const int64_t each = static_cast<int64_t>(s.height) * s.width, in_image = at % each;
  const int32_t triangle = index[at];
  double c[3] = {0.0, 0.0, 0.0}, w = 0.0;
  Vertex v[3];
  Triangle t;
  if (triangle >= 0 && MakeCorners(s, at / each, triangle, job.range, v) && MakeTriangle(v[0], v[1], v[2], job.range, &t)) {
    w = 1.0 / OverDepth(t, static_cast<double>(in_image % s.width), static_cast<double>(in_image / s.width), c);
  }
  for (int i = 0; i < 3; ++i) barycentrics[3 * at + i] = static_cast<float>(c[i] * w);
}

unsigned Blocks(int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); }

}  // namespace

cudaError_t CudaRasterize(const Scene& scene, const int32_t* behind_index, const float* behind_depth, const Fragments& out,
                          cudaStream_t stream) {
  const int64_t pixels = scene.batch * scene.height * scene.width, triangles = scene.batch * scene.triangles;
  if (pixels == 0) return cudaSuccess;
  Job job;
  job.scene = scene;
  job.range = RangeOf(scene);
  job.behind_index = behind_index;
  job.behind_depth = behind_depth;
  job.keys = reinterpret_cast<unsigned long long*>(out.barycentrics);
  job.list = reinterpret_cast<uint2*>(out.index);
  job.listed = reinterpret_cast<unsigned*>(out.depth);
  job.capacity = static_cast<unsigned>(pixels / 2 < kMostLarge ? pixels / 2 : kMostLarge);
  Clear<<<Blocks(pixels, 256), 256, 0, stream>>>(job, pixels);
  if (triangles > 0) {
    DrawAll<<<Blocks(triangles, kWarpsPerBlock), kThreads, 0, stream>>>(job);
    DrawLarge<<<kBlocksOfLarge, kThreads, 0, stream>>>(job);
  }
  Name<<<Blocks(pixels, 256), 256, 0, stream>>>(job, pixels, out.index, out.depth);
  Locate<<<Blocks(pixels, 256), 256, 0, stream>>>(job, pixels, out.index, out.barycentrics);
  return cudaGetLastError();
}

}  // namespace rasterize
}  // namespace ava
