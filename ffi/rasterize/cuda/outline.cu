// Outlines on a GPU. A warp looks at 32 edges of the mesh; those that are outlines are walked by all of its lanes together, 8 pixels a lane
// at a time. What their motion changes goes to their ends; the flow at marked pixels, and where triangles pass through each other, are
// summed over each triangle's pixels (sums.cuh). ../outline.h and ../outline_view.h have the mathematics.
#include "../outline_view.h"
#include "cuda.h"
#include "sums.cuh"

namespace ava {
namespace rasterize {
namespace {

constexpr int32_t kStretch = 8;  // pixels of an outline, along the axis that it runs along

// Calls run(outline, crossing) for a lane's part of an outline.
template <class Run>
__device__ __forceinline__ void ForCrossings(const View& view, const Outline& o, const Run& run) {
  const double wide = o.by[0] < 0.0 ? -o.by[0] : o.by[0], high = o.by[1] < 0.0 ? -o.by[1] : o.by[1];
  const int axis = wide > high ? 0 : 1;
  const int32_t size = axis == 0 ? view.width : view.height;
  const double from = o.from[axis], to = from + o.by[axis];
  double low = (from < to ? from : to) - 1.0, last = (from < to ? to : from) + 1.0;
  if (!(low < size) || !(last >= 0.0)) return;
  low = low < 0.0 ? 0.0 : low, last = last > size - 1 ? size - 1 : last;
  const int32_t end = static_cast<int32_t>(last) / kStretch;
  for (int32_t i = static_cast<int32_t>(low) / kStretch + threadIdx.x % kLanes; i <= end; i += kLanes) {
    Window window = {{0, 0}, {view.width, view.height}};
    window.first[axis] = i * kStretch;
    window.end[axis] = (i + 1) * kStretch < size ? (i + 1) * kStretch : size;
    Walk walk = StartWalk(o, window);
    for (Crossing c; NextCrossing(o, view.height, view.width, &walk, &c);) {
      if (IsVisible(view, o, c)) run(c);
    }
  }
}

// Calls run(edge, ends, outline) for each of a warp's 32 edges that is an outline, with all lanes.
template <class Run>
__device__ __forceinline__ void ForOutlines(const View& view, const Outlines& o, int64_t group, const Run& run) {
  const int64_t own = group * kLanes + threadIdx.x % kLanes;
  Vertex end[2];
  Outline outline;
  unsigned found = __ballot_sync(0xffffffffu, own < o.edges && OutlineOf(view, o.edge + 4 * own, end, &outline));
  for (; found != 0; found &= found - 1) {
    const int32_t* edge = o.edge + 4 * (group * kLanes + __ffs(found) - 1);
    OutlineOf(view, edge, end, &outline);
    run(edge, end, outline);
  }
}

struct OutlineJob {
  Scene scene;
  Range range;
  Outlines outlines;
  int64_t groups;  // of 32 edges, per image
};

// Marks as words of four, which atomic operations take; those after the last whole word in one of its own.
struct Words {
  unsigned* whole;
  int64_t count;
  unsigned* rest;
};

__global__ void ClearMarks(Words words) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i < words.count) words.whole[i] = 0;
  if (i == 0) *words.rest = 0;
}

__device__ __forceinline__ void SetMark(const Words& words, int64_t pixel, unsigned bits) {
  atomicOr(pixel / 4 < words.count ? words.whole + pixel / 4 : words.rest, bits << (8 * (pixel % 4)));
}

// A warp; `count` marks of the last word.
__global__ void CopyRest(Words words, int count) {
  const int i = threadIdx.x;
  if (i < count) reinterpret_cast<uint8_t*>(words.whole + words.count)[i] = static_cast<uint8_t>(*words.rest >> (8 * i));
}

__global__ void __launch_bounds__(kLanes* kWarps) MarkEdges(OutlineJob job, Words words) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes, image = warp / job.groups;
  if (image >= job.scene.batch) return;
  const View view = MakeView(job.scene, job.range, job.outlines, nullptr, image);
  const int64_t start = image * view.height * view.width;
  ForOutlines(view, job.outlines, warp % job.groups, [&](const int32_t*, const Vertex*, const Outline& o) {
    ForCrossings(view, o, [&](const Crossing& c) {
      SetMark(words, start + static_cast<int64_t>(c.row) * view.width + c.column, kOnOutline);
      if (c.cut_right >= 0) SetMark(words, start + c.cut_right, kCutRight);
      if (c.cut_below >= 0) SetMark(words, start + c.cut_below, kCutBelow);
    });
  });
}

// Bounds or adds what the motion of outlines gives to their ends.
__global__ void __launch_bounds__(kLanes* kWarps) MoveEdges(OutlineJob job, Sums sums, bool bounds) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes, image = warp / job.groups;
  if (image >= job.scene.batch) return;
  const View view = MakeView(job.scene, job.range, job.outlines, sums.made + image * sums.vertices, image);
  const int lane = threadIdx.x % kLanes;
  ForOutlines(view, job.outlines, warp % job.groups, [&](const int32_t* edge, const Vertex* end, const Outline& o) {
    double moved[4] = {};
    ForCrossings(view, o, [&](const Crossing& c) {
      const double along = AlongCrossing(view, c), share[2] = {1.0 - c.t, c.t};
      for (int i = 0; i < 4; ++i) moved[i] += along * share[i / 2] * c.normal[i % 2];
    });
    for (int i = 0; i < 4; ++i) {
      for (int by = kLanes / 2; by > 0; by /= 2) moved[i] += __shfl_xor_sync(0xffffffffu, moved[i], by);
    }
    double made[6] = {}, own = 0.0;
    AddToCorner(end[0], moved[0], moved[1], made);
    AddToCorner(end[1], moved[2], moved[3], made + 3);
    for (int i = 0; i < 6; ++i) own = lane == i ? made[i] : own;
    if (lane >= 6 || own == 0.0) return;
    const int64_t at = (image * sums.vertices + edge[lane / 3]) * sums.numbers + lane % 3;
    if (bounds) {
      Bound(sums, at, own);
    } else {
      AddTo(sums, at, own);
    }
  });
}

// Adds what the line on which triangles meet between pixels p and q, q following along the axis, gives to the first or to the second one.
// Few pixels come here, so what is needed is made again: the others keep their registers.
__device__ __noinline__ void Meet(View view, int64_t p, int64_t q, int axis, bool second, double* sum) {
  Vertex v[3];
  Triangle triangle[2];
  for (int side = 0; side < 2; ++side) {
    if (!CornersOf(view, view.index[side ? q : p], v) || !MakeTriangle(v[0], v[1], v[2], view.range, &triangle[side])) return;
  }
  const double x[2] = {static_cast<double>(p % view.width), static_cast<double>(q % view.width)};
  const double y[2] = {static_cast<double>(p / view.width), static_cast<double>(q / view.width)};
  Meeting m;
  if (MakeMeeting(triangle[0], triangle[1], x, y, axis, &m)) AddMeeting(m, AlongMeeting(view, m, p, q), second, sum);
}

// The same for the flow between a pixel of a triangle and its four neighbours, from and to it.
__device__ __noinline__ void AddFlows(View view, int64_t p, double* sum) {
  const bool flows = HasFlow(view, p);
  double moved[2] = {};
  for (int i = 0; i < 4; ++i) {
    const int axis = i / 2, way = i % 2 ? -1 : 1;
    const int64_t place = (axis == 0 ? p % view.width : p / view.width) + way;
    if (place < 0 || place >= (axis == 0 ? view.width : view.height)) continue;
    const int64_t q = p + way * (axis == 0 ? 1 : view.width);
    if (flows) moved[axis] += way * Flow(view, p, q);
    if (HasFlow(view, q)) moved[axis] -= way * Flow(view, q, p);
  }
  if (moved[0] != 0.0 || moved[1] != 0.0) AddPlace(view, p, moved[0], moved[1], sum);
}

// The flow at marked pixels and the lines on which triangles meet, from each triangle's own pixels.
template <int kComponents>
struct OfOutlines {
  static constexpr int kSums = 9, kNumbers = kComponents;

  struct State {
    Triangle triangle;
    Box box;
  };

  Scene scene;
  Range range;
  Outlines outlines;
  const Vertex* made;

  __device__ __forceinline__ bool Prepare(const Sums& sums, int64_t image, int64_t triangle, State* state, Box* box) const {
    double z[3];
    const bool is_seen = MadeTriangle(sums, image, triangle, &state->triangle, z, box);
    state->box = *box;
    return is_seen;
  }

  __device__ __forceinline__ bool Sees(int64_t image, int32_t row, int32_t column, int64_t triangle) const {
    return outlines.index[(image * scene.height + row) * scene.width + column] == triangle;
  }

  // Whether the triangle, seen at one pixel, lies at its neighbour `other` too, before or behind another one.
  __device__ __forceinline__ bool LiesAt(const State& state, const View& view, int64_t own, int64_t other) const {
    if (!MayMeet(view, own, other)) return false;
    const int32_t row = static_cast<int32_t>(other / view.width), column = static_cast<int32_t>(other % view.width);
    const Box& box = state.box;
    return row >= box.row_first && row <= box.row_last && column >= box.column_first && column <= box.column_last &&
           Holds(state.triangle, column, row);
  }

  __device__ __forceinline__ void Add(const State& state, int64_t image, int32_t row, int32_t column, double* sum) const {
    const View view = MakeView(scene, range, outlines, made + image * scene.vertices, image);
    const int64_t p = static_cast<int64_t>(row) * view.width + column;
    bool flows = HasFlow(view, p);
    int meets = 0;  // a bit a neighbour
    for (int i = 0; i < 4; ++i) {
      const int axis = i / 2, way = i % 2 ? -1 : 1;
      const int32_t place = (axis == 0 ? column : row) + way;
      if (place < 0 || place >= (axis == 0 ? view.width : view.height)) continue;
      const int64_t q = p + way * (axis == 0 ? 1 : view.width);
      flows = flows || HasFlow(view, q);
      if (LiesAt(state, view, p, q)) meets |= 1 << i;
    }
    if (!flows && meets == 0) return;
    double changed[9] = {};
    if (flows) AddFlows(view, p, changed);
    for (int i = 0; i < 4; ++i) {
      const int64_t q = p + (i % 2 ? -1 : 1) * (i / 2 == 0 ? 1 : view.width);
      if (meets >> i & 1) Meet(view, i % 2 ? q : p, i % 2 ? p : q, i / 2, i % 2, changed);
    }
    for (int i = 0; i < 9; ++i) sum[i] += changed[i];
  }

  __device__ __forceinline__ void Finish(const State&, const double* sum, double* record) const {
    for (int i = 0; i < 9; ++i) record[i / 3 * kComponents + i % 3] = sum[i];
  }
};

OutlineJob JobOf(const Scene& s, const Outlines& o) { return {s, RangeOf(s), o, (o.edges + kLanes - 1) / kLanes}; }

template <int kComponents>
void Gradient(const OutlineJob& job, const Sums& sums, float* d_vertices, cudaStream_t stream) {
  const OfOutlines<kComponents> of = {job.scene, job.range, job.outlines, sums.made};
  SumOverTriangles(of, sums, d_vertices, stream, [&](bool bounds) {
    const int64_t warps = job.groups * job.scene.batch;
    if (warps > 0) Launch(MoveEdges, BlocksFor(warps, kWarps), kLanes * kWarps, stream, job, sums, bounds);
  });
}

}  // namespace

cudaError_t CudaMarkOutlines(const Scene& s, const Outlines& o, void* scratch, uint8_t* marks, cudaStream_t stream) {
  const int64_t pixels = s.batch * s.height * s.width;
  if (pixels == 0) return cudaSuccess;
  const Words words = {reinterpret_cast<unsigned*>(marks), pixels / 4, static_cast<unsigned*>(scratch)};
  const OutlineJob job = JobOf(s, o);
  Launch(ClearMarks, BlocksFor(pixels / 4 + 1, 256), 256, stream, words);
  if (job.groups > 0) Launch(MarkEdges, BlocksFor(job.groups * s.batch, kWarps), kLanes * kWarps, stream, job, words);
  if (pixels % 4 != 0) Launch(CopyRest, 1, kLanes, stream, words, static_cast<int>(pixels % 4));
  return cudaGetLastError();
}

int64_t CudaOutlineScratch(const Scene& s, int64_t edges) {
  Sums sums = SumsOf(s, edges);
  return LayOut(nullptr, &sums);
}

cudaError_t CudaOutlineGradient(const Scene& s, const Outlines& o, void* scratch, float* d_vertices, cudaStream_t stream) {
  if (s.batch * s.vertices == 0) return cudaSuccess;
  Sums sums = SumsOf(s, o.edges);
  LayOut(scratch, &sums);
  if (s.components == 4) {
    Gradient<4>(JobOf(s, o), sums, d_vertices, stream);
  } else {
    Gradient<3>(JobOf(s, o), sums, d_vertices, stream);
  }
  return cudaGetLastError();
}

}  // namespace rasterize
}  // namespace ava
