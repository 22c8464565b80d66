// Marching cubes on GPUs, in four kernels: chunks of places are counted, the counts summed up, vertices written and numbered, faces written.
// Each vertex and face has its place by the counts before it, so results have the same bits each time.
#include <algorithm>

#include "../../common/launch.cuh"
#include "cuda.h"

namespace ava {
namespace marching {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRounds = 8;  // of a block over its chunk
constexpr int kChunk = kThreads * kRounds;
constexpr int kSumThreads = 1024;

// Of a chunk, then of all before it. One more than there are chunks: all of them.
struct Scratch {
  uint32_t *vertices, *faces;  // [chunks + 1]
  uint32_t* numbers;           // [places]: eight times the number of the place's first vertex, plus its crossed axes' bits
};

int64_t Chunks(int64_t places) { return (places + kChunk - 1) / kChunk; }

Scratch Carve(int32_t* memory, int64_t places) {
  uint32_t* at = reinterpret_cast<uint32_t*>(memory);
  const int64_t each = Chunks(places) + 1;
  return {at, at + each, at + 2 * each};
}

// Where a place lies, what its edges cross, and the case of the cell that starts there; 0 where there is none.
template <class Index>
struct Place {
  Index x, y, z, step[3];
  int crossed, cell;
  float value;
};

template <class Index>
__device__ __forceinline__ Place<Index> Look(const Grid& g, Index i) {
  Place<Index> p;
  const Index size_x = static_cast<Index>(g.size_x), size_y = static_cast<Index>(g.size_y), size_z = static_cast<Index>(g.size_z);
  const Index row = i / size_x;
  p.x = i - row * size_x, p.z = row / size_y, p.y = row - p.z * size_y;
  // At the end of an axis a place is its own neighbour, so that no edge is crossed.
  p.step[0] = p.x + 1 < size_x ? 1 : 0;
  p.step[1] = p.y + 1 < size_y ? size_x : 0;
  p.step[2] = p.z + 1 < size_z ? size_x * size_y : 0;
  const float* at = g.values + i;
  int all = 0;
#pragma unroll
  for (int corner = 0; corner < 8; ++corner) {
    const Index away = (corner & 1 ? p.step[0] : 0) + (corner & 2 ? p.step[1] : 0) + (corner & 4 ? p.step[2] : 0);
    const float value = __ldg(at + away);
    if (corner == 0) p.value = value;
    all |= Inside(g, value) << corner;
  }
  const int own = all & 1;
  p.crossed = (own ^ (all >> 1 & 1)) | (own ^ (all >> 2 & 1)) << 1 | (own ^ (all >> 4 & 1)) << 2;
  p.cell = p.step[0] && p.step[1] && p.step[2] ? all : 0;
  return p;
}

template <class Index>
__global__ void __launch_bounds__(kThreads) Count(Grid g, int64_t places, Scratch s, int32_t* bad) {
  __shared__ int sums[2][kWarps];
  int vertices = 0, faces = 0, not_finite = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kChunk + round * kThreads + threadIdx.x;
    if (i >= places) break;
    const Place<Index> p = Look<Index>(g, static_cast<Index>(i));
    vertices += __popc(p.crossed);
    if (p.cell != 0 && p.cell != 255) faces += g.table[p.cell * kTableRow];
    not_finite += !Finite(p.value);
  }
  for (int i = 16; i; i >>= 1) {
    vertices += __shfl_xor_sync(kAllLanes, vertices, i);
    faces += __shfl_xor_sync(kAllLanes, faces, i);
    not_finite += __shfl_xor_sync(kAllLanes, not_finite, i);
  }
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane == 0) {
    sums[0][warp] = vertices, sums[1][warp] = faces;
    if (not_finite) atomicAdd(bad, not_finite);
  }
  __syncthreads();
  if (threadIdx.x < 2) {
    int sum = 0;
    for (int i = 0; i < kWarps; ++i) sum += sums[threadIdx.x][i];
    (threadIdx.x ? s.faces : s.vertices)[blockIdx.x] = sum;
  }
}

// Inclusive sums over the warp's lanes.
template <class T>
__device__ __forceinline__ T WarpSums(T x) {
  const int lane = threadIdx.x & 31;
  for (int i = 1; i < 32; i <<= 1) {
    const T before = __shfl_up_sync(kAllLanes, x, i);
    if (lane >= i) x += before;
  }
  return x;
}

// Block 0 sums vertices, block 1 faces.
__global__ void __launch_bounds__(kSumThreads) SumUp(Scratch s, int64_t chunks, int32_t* counts) {
  __shared__ uint64_t warps[kSumThreads / 32];
  uint32_t* of = blockIdx.x ? s.faces : s.vertices;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  uint64_t before = 0;
  for (int64_t base = 0; base < chunks; base += kSumThreads) {
    const int64_t i = base + threadIdx.x;
    const uint32_t own = i < chunks ? of[i] : 0;
    const uint64_t sum = WarpSums<uint64_t>(own);
    if (lane == 31) warps[warp] = sum;
    __syncthreads();
    if (warp == 0) warps[lane] = WarpSums<uint64_t>(warps[lane]);
    __syncthreads();
    if (i < chunks) of[i] = static_cast<uint32_t>(before + (warp ? warps[warp - 1] : 0) + sum - own);
    before += warps[kSumThreads / 32 - 1];
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    of[chunks] = static_cast<uint32_t>(before);
    counts[blockIdx.x] = static_cast<int32_t>(before < INT32_MAX ? before : INT32_MAX);
  }
}

// A thread's place in the block's order, given how much each thread has; moves `*first` behind the block's.
__device__ __forceinline__ uint32_t Take(int own, uint32_t* first, int* warps) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int sum = WarpSums(own);
  if (lane == 31) warps[warp] = sum;
  __syncthreads();
  uint32_t at = *first + sum - own;
  for (int i = 0; i < kWarps; ++i) {
    if (i < warp) at += warps[i];
    *first += warps[i];
  }
  __syncthreads();
  return at;
}

template <class Index>
__global__ void __launch_bounds__(kThreads) WriteVertices(Grid g, int64_t places, Scratch s, Mesh mesh) {
  __shared__ int warps[kWarps];
  uint32_t first = s.vertices[blockIdx.x];
  if (s.vertices[blockIdx.x + 1] == first) return;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kChunk + round * kThreads + threadIdx.x;
    Place<Index> p = {};
    if (i < places) p = Look<Index>(g, static_cast<Index>(i));
    uint32_t at = Take(__popc(p.crossed), &first, warps);
    if (p.crossed == 0) continue;
    s.numbers[i] = at << 3 | p.crossed;
    for (int axis = 0; axis < 3; ++axis) {
      if (!(p.crossed >> axis & 1)) continue;
      if (at < mesh.vertex_capacity) {
        const float other = g.values[i + p.step[axis]];
        const float along = __fdiv_rn(__fsub_rn(g.level, p.value), __fsub_rn(other, p.value));
        float* v = mesh.vertices + 3 * static_cast<int64_t>(at);
        const Index own[3] = {p.x, p.y, p.z};
        for (int k = 0; k < 3; ++k) v[k] = k == axis ? __fadd_rn(static_cast<float>(own[k]), along) : static_cast<float>(own[k]);
      }
      ++at;
    }
  }
}

template <class Index>
__global__ void __launch_bounds__(kThreads) WriteFaces(Grid g, int64_t places, Scratch s, Mesh mesh) {
  __shared__ int warps[kWarps];
  uint32_t first = s.faces[blockIdx.x];
  if (s.faces[blockIdx.x + 1] == first) return;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kChunk + round * kThreads + threadIdx.x;
    Place<Index> p = {};
    if (i < places) p = Look<Index>(g, static_cast<Index>(i));
    const int8_t* row = g.table + p.cell * kTableRow;
    const int own = p.cell != 0 && p.cell != 255 ? row[0] : 0;
    uint32_t at = Take(own, &first, warps);
    for (int n = 0; n < own; ++n, ++at) {
      if (at >= mesh.face_capacity) break;
      for (int corner = 0; corner < 3; ++corner) {
        const int edge = row[1 + 3 * n + corner];
        int64_t owner = i;
        for (int axis = 0; axis < 3; ++axis) owner += OwnerOffset(edge, axis) ? p.step[axis] : 0;
        const uint32_t number = s.numbers[owner];
        mesh.faces[3 * static_cast<int64_t>(at) + corner] = static_cast<int32_t>(number >> 3) + Before(number & 7, edge >> 2);
      }
    }
  }
}

template <class Index>
void Run(const Grid& g, const Mesh& m, const Scratch& s, int64_t places, unsigned chunks, cudaStream_t stream) {
  Launch(Count<Index>, chunks, kThreads, stream, g, places, s, m.counts + 2);
  Launch(SumUp, 2, kSumThreads, stream, s, chunks, m.counts);
  Launch(WriteVertices<Index>, chunks, kThreads, stream, g, places, s, m);
  Launch(WriteFaces<Index>, chunks, kThreads, stream, g, places, s, m);
}

}  // namespace

int64_t CudaScratch(int64_t places) { return places + 2 * (Chunks(places) + 1); }

cudaError_t CudaExtract(const Grid& g, const Mesh& m, int32_t* scratch, cudaStream_t stream) {
  const int64_t places = g.size_x * g.size_y * g.size_z;
  cudaError_t error = cudaMemsetAsync(m.counts, 0, 3 * sizeof(int32_t), stream);
  if (error == cudaSuccess) error = cudaMemsetAsync(m.vertices, 0, 3 * sizeof(float) * m.vertex_capacity, stream);
  if (error == cudaSuccess) error = cudaMemsetAsync(m.faces, 0, 3 * sizeof(int32_t) * m.face_capacity, stream);
  if (error != cudaSuccess || places == 0) return error;
  if (Chunks(places) > INT32_MAX) return cudaErrorInvalidConfiguration;
  const Scratch s = Carve(scratch, places);
  const unsigned chunks = static_cast<unsigned>(Chunks(places));
  if (places < INT32_MAX) {
    Run<uint32_t>(g, m, s, places, chunks, stream);
  } else {
    Run<int64_t>(g, m, s, places, chunks, stream);
  }
  return cudaGetLastError();
}

}  // namespace marching
}  // namespace ava
