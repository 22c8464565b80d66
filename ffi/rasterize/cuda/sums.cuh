// Sums over the pixels that see each triangle, and from them over the triangles at each vertex: the same bits from run to run.
//
// A warp a triangle goes through the pixels of its box, 32 at a time and each lane's in order, and adds up the lanes by a fixed tree. The
// box of a large triangle is cut into chunks, a warp each, whose sums are added in order: the cut depends on the triangle alone.
// The records that come of it, 3 corners x `numbers`, are added to the vertices in fixed point (../../common/fixed.cuh), whose scale is
// that of the largest record at the same number.
//
// An operation `Of` says what a pixel gives:
//   static constexpr int kSums, kNumbers   of a pixel, at most 12; of a corner
//   struct State                           what its pixels need of a triangle
//   bool Prepare(sums, image, triangle, State*, Box*)
//   bool Sees(image, row, column, triangle)
//   void Add(State, image, row, column, sums)
//   void Finish(State, sums, record)       record [3][kNumbers]
#pragma once

#include <cuda_runtime.h>

#include "../../common/fixed.cuh"
#include "../../common/launch.cuh"
#include "../scene.h"

namespace ava {
namespace rasterize {
namespace {

constexpr int kLanes = 32, kWarps = 4, kTileColumns = 8, kTileRows = 4, kAhead = 4;
constexpr int kMostSums = 12;
#ifdef AVA_SMALL_LIMITS  // for tests: all that happens to large triangles happens to small ones
constexpr int64_t kChunkTiles = 2, kMostChunks = 5, kParts = 16, kRecords = 24;
#else
constexpr int64_t kChunkTiles = 64, kMostChunks = 256;
constexpr int64_t kParts = 16384;    // chunks that have warps of their own
constexpr int64_t kRecords = 1 << 20;  // triangles of a pass
#endif
constexpr unsigned kBlocksOfChunks = 512;
constexpr unsigned kNoTriangle = ~0u;

// A chunk of a large triangle; those of one triangle follow each other from `base` on.
struct Part {
  unsigned image, triangle, chunk, base;
};

struct Sums {
  Scene scene;
  Range range;
  int64_t images, triangles, vertices;
  const int32_t* faces;
  int numbers, bits;
  Vertex* made;        // [images, vertices]
  Fixed* totals;       // [images, vertices, numbers]
  double* records;     // [kRecords, 3, numbers]
  double* chunk_sums;  // [kParts, kMostSums]
  Part* parts;         // [kParts]
  unsigned* left;      // [kParts]: chunks of a triangle that are to come, at its base
  unsigned* listed;
  int32_t* exponents;  // [images, vertices, numbers]
};

inline int64_t SumNumbers(const Sums& s) { return s.images * s.vertices * s.numbers; }

inline int64_t RecordsOf(int64_t images, int64_t triangles) { return images * triangles < kRecords ? images * triangles : kRecords; }

// Of the triangles of a scene, and of as many edges of two ends.
inline Sums SumsOf(const Scene& s, int64_t edges) {
  Sums sums = {};
  sums.scene = s;
  sums.range = RangeOf(s);
  sums.images = s.batch, sums.triangles = s.triangles, sums.vertices = s.vertices;
  sums.faces = s.faces;
  sums.numbers = s.components;
  sums.bits = BitsFor(3 * s.triangles + 2 * edges);
  return sums;
}

// Lays it out in scratch and says how many bytes that is.
inline int64_t LayOut(void* scratch, Sums* s) {
  char* at = static_cast<char*>(scratch);
  const auto take = [&](int64_t bytes) {
    char* from = at;
    at += (bytes + 15) / 16 * 16;
    return from;
  };
  s->made = reinterpret_cast<Vertex*>(take(s->images * s->vertices * sizeof(Vertex)));
  s->totals = reinterpret_cast<Fixed*>(take(SumNumbers(*s) * 8));
  s->records = reinterpret_cast<double*>(take(RecordsOf(s->images, s->triangles) * 3 * s->numbers * 8));
  s->chunk_sums = reinterpret_cast<double*>(take(kParts * kMostSums * 8));
  s->parts = reinterpret_cast<Part*>(take(kParts * sizeof(Part)));
  s->left = reinterpret_cast<unsigned*>(take(kParts * 4));
  s->listed = reinterpret_cast<unsigned*>(take(4));
  s->exponents = reinterpret_cast<int32_t*>(take(SumNumbers(*s) * 4));
  return at - static_cast<char*>(scratch);
}

// Makes vertices, too: triangles share them.
__global__ void __launch_bounds__(256) ClearSums(Sums s, int64_t numbers) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i == 0) *s.listed = 0;
  if (i < s.images * s.vertices) s.made[i] = MakeVertex(s.scene.given + i * s.scene.components, s.range);
  if (i >= numbers) return;
  s.totals[i] = 0;
  s.exponents[i] = 0;
}

// Notes how large a term of a sum is.
__device__ __forceinline__ void Bound(const Sums& s, int64_t at, double x) {
  const int exponent = ExponentOf(x);
  if (exponent > s.exponents[at]) atomicMax(s.exponents + at, exponent);
}

__device__ __forceinline__ void AddTo(const Sums& s, int64_t at, double x) {
  const int exponent = s.exponents[at];
  if (x == 0.0 || exponent == kNotFinite) return;
  atomicAdd(s.totals + at, ToFixed(x, ScaleOf(exponent, s.bits)));
}

__device__ __forceinline__ bool MadeCorners(const Sums& s, int64_t image, int64_t triangle, Vertex corner[3]) {
  for (int i = 0; i < 3; ++i) {
    const int32_t v = s.faces[3 * triangle + i];
    if (v < 0 || v >= s.vertices) return false;
    corner[i] = s.made[image * s.vertices + v];
  }
  return true;
}

// What is made of a triangle, and its box; false where nothing of it can be seen.
__device__ __forceinline__ bool MadeTriangle(const Sums& s, int64_t image, int64_t triangle, Triangle* made, double z[3], Box* box) {
  Vertex v[3];
  if (!MadeCorners(s, image, triangle, v)) return false;
  *box = MakeBox(v[0], v[1], v[2], s.range, s.scene.height, s.scene.width);
  for (int i = 0; i < 3; ++i) z[i] = v[i].z;
  return box->row_last >= box->row_first && MakeTriangle(v[0], v[1], v[2], s.range, made);
}

__device__ __forceinline__ int64_t NumberOf(const Sums& s, int64_t image, int64_t triangle, int k) {
  return (image * s.vertices + s.faces[3 * triangle + k / s.numbers]) * s.numbers + k % s.numbers;
}

struct Tiles {
  int32_t across;
  int64_t count, of_chunk, chunks;  // a picture has less than 2^31 tiles
};

__device__ __forceinline__ Tiles TilesOf(const Box& box) {
  Tiles t;
  t.across = (box.column_last - box.column_first) / kTileColumns + 1;
  t.count = static_cast<int64_t>(t.across) * ((box.row_last - box.row_first) / kTileRows + 1);
  t.of_chunk = (t.count + kMostChunks - 1) / kMostChunks;
  if (t.of_chunk < kChunkTiles) t.of_chunk = kChunkTiles;
  t.chunks = (t.count + t.of_chunk - 1) / t.of_chunk;
  return t;
}

struct Place {
  int32_t row, column;
};

// A lane's pixel of a tile.
__device__ __forceinline__ Place PlaceIn(const Box& box, const Tiles& tiles, int32_t tile) {
  const int lane = threadIdx.x % kLanes;
  return {box.row_first + tile / tiles.across * kTileRows + lane / kTileColumns,
          box.column_first + tile % tiles.across * kTileColumns + lane % kTileColumns};
}

// The sums over a chunk's pixels: lane k has the kth.
template <class Of>
__device__ __forceinline__ double ChunkSum(const Of& of, const typename Of::State& state, const Box& box, const Tiles& tiles, int64_t image,
                                           int64_t triangle, int64_t chunk) {
  const int lane = threadIdx.x % kLanes;
  double sum[kMostSums] = {};
  bool any = false;
  int64_t end = (chunk + 1) * tiles.of_chunk;
  if (end > tiles.count) end = tiles.count;
  for (int64_t tile = chunk * tiles.of_chunk; tile < end; tile += kAhead) {
    unsigned seen = 0;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {  // what takes long is asked for before any of it is used
      const Place at = PlaceIn(box, tiles, static_cast<int32_t>(tile) + i);
      const bool within = tile + i < end && at.row <= box.row_last && at.column <= box.column_last;
      const bool sees = of.Sees(image, within ? at.row : box.row_first, within ? at.column : box.column_first, triangle);
      seen |= (within && sees ? 1u : 0u) << i;
    }
    any = any || seen != 0;
#pragma unroll 1
    for (int i = 0; i < kAhead; ++i) {
      if (!(seen >> i & 1)) continue;
      const Place at = PlaceIn(box, tiles, static_cast<int32_t>(tile) + i);
      of.Add(state, image, at.row, at.column, sum);
    }
  }
  if (!__any_sync(0xffffffffu, any)) return 0.0;
  double own = 0.0;
#pragma unroll
  for (int k = 0; k < Of::kSums; ++k) {
    for (int by = kLanes / 2; by > 0; by /= 2) sum[k] += __shfl_xor_sync(0xffffffffu, sum[k], by);
    if (lane == k) own = sum[k];
  }
  return own;
}

// Keeps the record of a triangle whose sums the lanes have, and notes its size.
template <class Of>
__device__ __forceinline__ void Keep(const Of& of, const Sums& s, const typename Of::State& state, int64_t image, int64_t triangle,
                                     int64_t record, double own, bool bounds) {
  const int lane = threadIdx.x % kLanes;
  double sum[kMostSums] = {}, made[3 * Of::kNumbers] = {};
  if (__any_sync(0xffffffffu, own != 0.0)) {  // not 0: NaN too
#pragma unroll
    for (int k = 0; k < Of::kSums; ++k) sum[k] = __shfl_sync(0xffffffffu, own, k);
    of.Finish(state, sum, made);
  }
  double mine = 0.0;
#pragma unroll
  for (int k = 0; k < 3 * Of::kNumbers; ++k) mine = lane == k ? made[k] : mine;
  if (lane >= 3 * Of::kNumbers) return;
  s.records[record * 3 * Of::kNumbers + lane] = mine;
  if (bounds && mine != 0.0) Bound(s, NumberOf(s, image, triangle, lane), mine);
}

// Gives the chunks of a triangle warps of their own; false where there is no room. `first` + record is its number.
__device__ __forceinline__ bool List(const Sums& s, int64_t image, int64_t triangle, int64_t chunks) {
  const int lane = threadIdx.x % kLanes;
  unsigned base = 0;
  if (lane == 0) base = atomicAdd(s.listed, static_cast<unsigned>(chunks));
  base = __shfl_sync(0xffffffffu, base, 0);
  const bool fits = base + chunks <= kParts;
  for (int64_t i = base + lane; i < base + chunks && i < kParts; i += kLanes) {
    const unsigned listed = fits ? static_cast<unsigned>(triangle) : kNoTriangle;
    s.parts[i] = {static_cast<unsigned>(image), listed, static_cast<unsigned>(i - base), base};
  }
  if (fits && lane == 0) s.left[base] = static_cast<unsigned>(chunks);
  return fits;
}

// Records of triangles [first, first + count), numbered through all images.
template <class Of>
__global__ void __launch_bounds__(kLanes* kWarps, 4) Gather(Of of, Sums s, int64_t first, int64_t count, bool bounds) {
  const int64_t record = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (record >= count) return;
  const int64_t image = (first + record) / s.triangles, triangle = (first + record) % s.triangles;
  typename Of::State state;
  Box box;
  double own = 0.0;
  if (of.Prepare(s, image, triangle, &state, &box)) {
    const Tiles tiles = TilesOf(box);
    if (tiles.chunks > 1 && List(s, image, triangle, tiles.chunks)) return;
    for (int64_t chunk = 0; chunk < tiles.chunks; ++chunk) own += ChunkSum(of, state, box, tiles, image, triangle, chunk);
  }
  Keep(of, s, state, image, triangle, record, own, bounds);
}

// The chunks that Gather listed. Who comes last of a triangle's adds them up.
template <class Of>
__global__ void __launch_bounds__(kLanes* kWarps, 4) GatherChunks(Of of, Sums s, int64_t first, bool bounds) {
  const int lane = threadIdx.x % kLanes;
  const int64_t listed = *s.listed < kParts ? *s.listed : kParts, warps = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes; i < listed; i += warps) {
    const Part part = s.parts[i];
    typename Of::State state;
    Box box;
    if (part.triangle == kNoTriangle || !of.Prepare(s, part.image, part.triangle, &state, &box)) continue;
    const Tiles tiles = TilesOf(box);
    const double own = ChunkSum(of, state, box, tiles, part.image, part.triangle, part.chunk);
    if (lane < kMostSums) s.chunk_sums[i * kMostSums + lane] = own;
    __threadfence();
    __syncwarp();
    unsigned before = 0;
    if (lane == 0) before = atomicAdd(s.left + part.base, ~0u);  // one less
    if (__shfl_sync(0xffffffffu, before, 0) != 1) continue;
    __threadfence();
    double sum = 0.0;
    for (int64_t chunk = 0; lane < kMostSums && chunk < tiles.chunks; ++chunk) {
      sum += __ldcg(s.chunk_sums + (part.base + chunk) * kMostSums + lane);
    }
    Keep(of, s, state, part.image, part.triangle, static_cast<int64_t>(part.image) * s.triangles + part.triangle - first, sum, bounds);
  }
}

// Adds the records of a pass to the vertices, and empties the list for the next one.
__global__ void AddRecords(Sums s, int64_t first, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  const int64_t record = i / (3 * s.numbers), triangle = first + record;
  if (record >= count) return;
  const double x = s.records[i];
  if (x != 0.0) AddTo(s, NumberOf(s, triangle / s.triangles, triangle % s.triangles, static_cast<int>(i % (3 * s.numbers))), x);
}

__global__ void EmptyList(unsigned* listed) { *listed = 0; }

__global__ void FinishSums(Sums s, int64_t numbers, float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= numbers) return;
  const int exponent = s.exponents[i];
  const float none = static_cast<float>(FromBits64(0x7ff8000000000000ll));
  out[i] = exponent == 0 ? 0.0f : exponent == kNotFinite ? none : FromFixed(s.totals[i], ScaleOf(exponent, s.bits));
}

template <class Of>
void GatherPass(const Of& of, const Sums& s, int64_t first, int64_t count, bool bounds, bool is_first, cudaStream_t stream) {
  if (!is_first) Launch(EmptyList, 1, kLanes, stream, s.listed);
  Launch(Gather<Of>, BlocksFor(count, kWarps), kLanes * kWarps, stream, of, s, first, count, bounds);
  Launch(GatherChunks<Of>, kBlocksOfChunks, kLanes * kWarps, stream, of, s, first, bounds);
}

void AddPass(const Sums& s, int64_t first, int64_t count, cudaStream_t stream) {
  Launch(AddRecords, BlocksFor(count * 3 * s.numbers, 256), 256, stream, s, first, count);
}

// `out` [images, vertices, numbers]. `between(bounds)` launches what else adds to the sums: once to bound its terms and once to add them.
// Where there are more triangles than records, they are gathered twice: how large sums are must be known before any is added.
template <class Of, class Between>
void SumOverTriangles(const Of& of, const Sums& s, float* out, cudaStream_t stream, const Between& between) {
  const int64_t numbers = SumNumbers(s), all = s.images * s.triangles;
  Launch(ClearSums, BlocksFor(numbers, 256), 256, stream, s, numbers);
  for (int64_t first = 0; first < all; first += kRecords) {
    GatherPass(of, s, first, all - first < kRecords ? all - first : kRecords, true, first == 0, stream);
  }
  between(true);
  for (int64_t first = 0; first < all; first += kRecords) {
    const int64_t count = all - first < kRecords ? all - first : kRecords;
    if (all > kRecords) GatherPass(of, s, first, count, false, false, stream);
    AddPass(s, first, count, stream);
  }
  between(false);
  Launch(FinishSums, BlocksFor(numbers, 256), 256, stream, s, numbers, out);
}

}  // namespace
}  // namespace rasterize
}  // namespace ava
