#include "cpu.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace rasterize {
namespace {

constexpr int64_t kVerticesPerTask = 4096;
constexpr int64_t kChunksPerTask = 8;
constexpr int32_t kBandRows = 32;
constexpr int64_t kScratchBytes = int64_t{64} << 20;
constexpr int64_t kPixelsPerTask = 8192;

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

int64_t Tasks(int64_t count, int64_t per_task) { return (count + per_task - 1) / per_task; }

Mesh MakeMesh(const Scene& s, int64_t image, const Vertex* vertices) {
  return {s.given + image * s.vertices * s.components, vertices, s.faces, s.vertices, s.triangles, RangeOf(s), s.height, s.width};
}

void MakeVertices(const Scene& s, int64_t first, int64_t count, Vertex* out, const Pool& pool) {
  const int64_t tasks = Tasks(s.vertices, kVerticesPerTask);
  ParallelFor(pool, count * tasks, [&](int64_t task, int) {
    const int64_t image = task / tasks, from = task % tasks * kVerticesPerTask;
    Chosen().vertices(MakeMesh(s, first + image, nullptr), from, std::min(from + kVerticesPerTask, s.vertices), out + image * s.vertices);
  });
}

template <class T>
std::unique_ptr<T[]> Uninitialised(int64_t count) {
  return std::unique_ptr<T[]>(new T[std::max<int64_t>(count, 1)]);
}

// How many images are worked on at a time.
int64_t GroupOf(const Scene& s) {
  const int64_t bytes = s.vertices * sizeof(Vertex) + s.triangles * sizeof(Rows);
  return std::max<int64_t>(1, std::min(s.batch, kScratchBytes / std::max<int64_t>(bytes, 1)));
}

// What each band of an image found, in the order of its pixels.
struct BandRecords {
  std::vector<int32_t> triangle;
  std::vector<float> sum;
};

// The scratch of one thread that gathers records.
struct Gatherer {
  std::vector<int32_t> slot, triangle;
  std::unique_ptr<double[]> sum;
};

Records RecordsOf(Gatherer* g, int64_t triangles, int64_t pixels, int64_t per_record) {
  if (g->slot.empty()) {
    g->slot.assign(triangles, -1);
    g->triangle.resize(std::min(triangles, pixels));
    g->sum = Uninitialised<double>(std::min(triangles, pixels) * per_record);
  }
  return {g->slot.data(), g->triangle.data(), g->sum.get(), per_record};
}

void Keep(const Records& records, int64_t count, BandRecords* band) {
  band->triangle.assign(records.triangle, records.triangle + count);
  band->sum.assign(records.sum, records.sum + count * records.per_record);
}

// Adds records of `width` numbers a corner to the corners' own.
void AddRecords(const BandRecords& band, const int32_t* faces, int64_t width, double* to) {
  for (size_t i = 0; i < band.triangle.size(); ++i) {
    const float* from = band.sum.data() + i * (band.sum.size() / band.triangle.size());
    for (int corner = 0; corner < 3; ++corner) {
      double* at = to + faces[3 * static_cast<int64_t>(band.triangle[i]) + corner] * width;
      for (int64_t k = 0; k < width; ++k) at[k] += from[corner * width + k];
    }
  }
}

}  // namespace

void Rasterize(const Scene& s, const int32_t* behind_index, const float* behind_depth, const Fragments& out, const Pool& pool) {
  const int64_t group = GroupOf(s), chunks = Tasks(s.triangles, kChunk), pixels = static_cast<int64_t>(s.height) * s.width;
  const auto vertices = Uninitialised<Vertex>(group * s.vertices);
  const auto rows = Uninitialised<Rows>(group * s.triangles), chunk_rows = Uninitialised<Rows>(group * chunks);
  for (int64_t first = 0; first < s.batch; first += group) {
    const int64_t count = std::min(group, s.batch - first);
    MakeVertices(s, first, count, vertices.get(), pool);
    const int64_t tasks = Tasks(chunks, kChunksPerTask);
    ParallelFor(pool, count * tasks, [&](int64_t task, int) {
      const int64_t image = task / tasks, from = task % tasks * kChunksPerTask;
      const Mesh mesh = MakeMesh(s, first + image, vertices.get() + image * s.vertices);
      for (int64_t chunk = from; chunk < std::min(from + kChunksPerTask, chunks); ++chunk) {
        chunk_rows[image * chunks + chunk] = Chosen().rows(mesh, chunk * kChunk, std::min((chunk + 1) * kChunk, s.triangles),
                                                           rows.get() + image * s.triangles);
      }
    });
    const int64_t bands = Tasks(s.height, kBandRows);
    ParallelFor(pool, count * bands, [&](int64_t task, int) {
      const int64_t image = task / bands, at = (first + image) * pixels;
      const int32_t from = static_cast<int32_t>(task % bands) * kBandRows;
      const Mesh mesh = MakeMesh(s, first + image, vertices.get() + image * s.vertices);
      const Layer layer = {out.index + at, out.depth + at, out.barycentrics + 3 * at, behind_index == nullptr ? nullptr : behind_index + at,
                           behind_depth == nullptr ? nullptr : behind_depth + at};
      Chosen().draw(mesh, rows.get() + image * s.triangles, chunk_rows.get() + image * chunks, from, std::min(from + kBandRows, s.height),
                    layer);
    });
  }
}

void RasterizeGradient(const Scene& s, const int32_t* index, const float* d_barycentrics, const float* d_depth, float* d_vertices,
                       const Pool& pool) {
  const int64_t group = GroupOf(s), bands = Tasks(s.height, kBandRows), pixels = static_cast<int64_t>(s.height) * s.width;
  const int64_t numbers = s.vertices * s.components;
  const auto vertices = Uninitialised<Vertex>(group * s.vertices);
  std::vector<Gatherer> gatherers(pool.threads);
  std::vector<BandRecords> found(group * bands);
  for (int64_t first = 0; first < s.batch; first += group) {
    const int64_t count = std::min(group, s.batch - first);
    MakeVertices(s, first, count, vertices.get(), pool);
    ParallelFor(pool, count * bands, [&](int64_t task, int worker) {
      const int64_t image = task / bands, at = (first + image) * pixels;
      const int32_t from = static_cast<int32_t>(task % bands) * kBandRows;
      const Mesh mesh = MakeMesh(s, first + image, vertices.get() + image * s.vertices);
      const Records records = RecordsOf(&gatherers[worker], s.triangles, static_cast<int64_t>(kBandRows) * s.width, 12);
      Keep(records,
           Chosen().gradient(mesh, from, std::min(from + kBandRows, s.height), index + at, d_barycentrics + 3 * at, d_depth + at, records),
           &found[task]);
    });
    ParallelFor(pool, count, [&](int64_t image, int) {
      std::vector<double> sum(numbers, 0.0);
      for (int64_t band = 0; band < bands; ++band) AddRecords(found[image * bands + band], s.faces, s.components, sum.data());
      std::copy(sum.begin(), sum.end(), d_vertices + (first + image) * numbers);
    });
  }
}

namespace {

Attributes AttributesOf(const Interpolation& t, int64_t image) {
  return {t.values + (t.common ? 0 : image * t.count * t.channels), t.faces, t.count, t.triangles, t.channels};
}

// Calls run(image, first, last) for the pixels of all images.
template <class Run>
void ForPixels(const Interpolation& t, const Pool& pool, const Run& run) {
  const int64_t pixels = t.height * t.width, tasks = Tasks(pixels, kPixelsPerTask);
  ParallelFor(pool, t.batch * tasks, [&](int64_t task, int) {
    const int64_t first = task % tasks * kPixelsPerTask;
    run(task / tasks, first, std::min(first + kPixelsPerTask, pixels));
  });
}

}  // namespace

void Interpolate(const Interpolation& t, float* out, const Pool& pool) {
  const int64_t pixels = t.height * t.width;
  ForPixels(t, pool, [&](int64_t image, int64_t first, int64_t last) {
    const int64_t at = image * pixels;
    Chosen().interpolate(AttributesOf(t, image), first, last, t.index + at, t.barycentrics + 3 * at, out + at * t.channels);
  });
}

void InterpolateBarycentrics(const Interpolation& t, const float* cotangent, float* d_barycentrics, const Pool& pool) {
  const int64_t pixels = t.height * t.width;
  ForPixels(t, pool, [&](int64_t image, int64_t first, int64_t last) {
    const int64_t at = image * pixels;
    Chosen().interpolate_barycentrics(AttributesOf(t, image), first, last, t.index + at, cotangent + at * t.channels,
                                      d_barycentrics + 3 * at);
  });
}

void InterpolateAttributes(const Interpolation& t, const float* cotangent, float* d_values, const Pool& pool) {
  const int64_t pixels = t.height * t.width, bands = Tasks(t.height, kBandRows), numbers = t.count * t.channels;
  std::vector<Gatherer> gatherers(pool.threads);
  std::vector<BandRecords> found(t.batch * bands);
  ParallelFor(pool, t.batch * bands, [&](int64_t task, int worker) {
    const int64_t image = task / bands, at = image * pixels, first = task % bands * kBandRows * t.width;
    const Records records = RecordsOf(&gatherers[worker], t.triangles, kBandRows * t.width, 3 * t.channels);
    Keep(records,
         Chosen().interpolate_attributes(AttributesOf(t, image), first, std::min(first + kBandRows * t.width, pixels), t.index + at,
                                         t.barycentrics + 3 * at, cotangent + at * t.channels, records),
         &found[task]);
  });
  const int64_t arrays = t.common ? 1 : t.batch, each = t.batch * bands / arrays;
  ParallelFor(pool, arrays, [&](int64_t array, int) {
    std::vector<double> sum(numbers, 0.0);
    for (int64_t i = 0; i < each; ++i) AddRecords(found[array * each + i], t.faces, t.channels, sum.data());
    std::copy(sum.begin(), sum.end(), d_values + array * numbers);
  });
}

}  // namespace rasterize
}  // namespace ava
