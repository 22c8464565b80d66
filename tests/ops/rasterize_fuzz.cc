// Random and hostile scenes for the CPU rasteriser, without XLA or Python: scripts/sanitize.sh builds this with sanitizers and runs it.
//
//   rasterize_fuzz FIRST_SEED SEEDS
//
// Each seed is a scene of rasterize_random.h, of which must hold: every number of every result is written; the same bits for any number of
// threads; what a pixel sees is a triangle of the mesh, at a depth in range, with weights that sum to one; a closed surface is crossed an even
// number of times at each pixel, and a sheet that covers the picture once; gradients of finite inputs are finite and sum to what they must;
// faces of vertices that are not finite draw nothing and leave the others' bits alone; scratch stays below what the headers state.

#include <malloc.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "rasterize_random.h"

namespace {
std::atomic<int64_t> held{0}, most{0};

void Count(void* p) {
  const int64_t now = held += static_cast<int64_t>(malloc_usable_size(p));
  for (int64_t before = most; now > before && !most.compare_exchange_weak(before, now);) {
  }
}
}  // namespace

void* operator new(size_t size) {
  void* p = std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  Count(p);
  return p;
}
void operator delete(void* p) noexcept {
  if (p != nullptr) held -= static_cast<int64_t>(malloc_usable_size(p));
  std::free(p);
}
void operator delete(void* p, size_t) noexcept { operator delete(p); }

namespace {

using ava::Pool;
namespace raster = ava::rasterize;
namespace texture = ava::texture;

// A NaN of its own, so that what is left unwritten is seen.
float Unwritten() {
  const uint32_t bits = 0x7fdeadbe;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

struct Layer {
  Indices index;
  Array barycentrics, depth;
};

struct Outputs {
  std::vector<Layer> layers;
  Array d_vertices, image, d_values, d_weights, read, d_uv, d_level, d_texels, d_outline;
  std::vector<uint8_t> marks;

  std::vector<const Array*> arrays() const {
    std::vector<const Array*> all = {&d_vertices, &image, &d_values, &d_weights, &read, &d_uv, &d_level, &d_texels, &d_outline};
    for (const Layer& layer : layers) all.insert(all.end(), {&layer.barycentrics, &layer.depth});
    return all;
  }
};

// What must be the largest scratch of a call: `used` bytes at most, and what threads and lists need to be there at all.
const char* scratch_fault = nullptr;
constexpr int64_t kSlack = 64 << 10;

template <class Call>
void Within(int64_t bytes, const char* what, const Call& call) {
  const int64_t before = held;
  most = before;
  call();
  if (most - before > bytes + kSlack && scratch_fault == nullptr) {
    std::printf("%s: %lld bytes of scratch, %lld stated\n", what, static_cast<long long>(most - before), static_cast<long long>(bytes));
    scratch_fault = what;
  }
}

raster::Scene SceneOf(const Inputs& in) {
  const bool clip = in.components == 4;
  return {in.batch, in.count(), in.triangles(), in.components, in.height, in.width, clip ? -1.0f : kNearPlane, clip ? 1.0f : kFarthest,
          in.vertices.data(), in.faces.data()};
}

Layer Draw(const Inputs& in, const Layer* behind, const Pool& pool) {
  const int64_t all = in.batch * in.pixels();
  Layer layer = {Indices(all, -7), Array(3 * all, Unwritten()), Array(all, Unwritten())};
  const int64_t chunks = in.triangles() / 128 + 1;
  Within(in.batch * (40 * in.count() + 8 * in.triangles() + 8 * chunks), "rasterize", [&] {
    raster::Rasterize(SceneOf(in), behind == nullptr ? nullptr : behind->index.data(), behind == nullptr ? nullptr : behind->depth.data(),
                      {layer.index.data(), layer.barycentrics.data(), layer.depth.data()}, pool);
  });
  return layer;
}

// Of records of bands of 32 rows: a thread's own, and what all bands found.
int64_t RecordBytes(const Inputs& in, int64_t threads, int64_t numbers) {
  const int64_t bands = (in.height + 31) / 32, most_a_band = std::min<int64_t>(in.triangles(), 32 * static_cast<int64_t>(in.width));
  return threads * (4 * in.triangles() + most_a_band * (4 + 8 * numbers)) + in.batch * bands * most_a_band * (4 + 4 * numbers);
}

void RunMesh(const Inputs& in, const Pool& pool, Outputs* out) {
  const raster::Scene scene = SceneOf(in);
  const Layer& first = out->layers[0];
  const int64_t all = in.batch * in.pixels(), numbers = in.count() * in.components;
  out->d_vertices.assign(in.vertices.size(), Unwritten());
  Within(in.batch * 40 * in.count() + RecordBytes(in, pool.threads, 12) + 8 * numbers * pool.threads, "gradient", [&] {
    raster::RasterizeGradient(scene, first.index.data(), in.d_barycentrics.data(), in.d_depth.data(), out->d_vertices.data(), pool);
  });
  const raster::Interpolation t = {in.batch,  in.count(),       in.channels,     in.triangles(),    in.height, in.width,
                                   in.common, in.values.data(), in.faces.data(), first.index.data(), first.barycentrics.data()};
  out->image.assign(all * in.channels, Unwritten()), out->d_values.assign(in.values.size(), Unwritten());
  out->d_weights.assign(3 * all, Unwritten());
  Within(0, "interpolate", [&] { raster::Interpolate(t, out->image.data(), pool); });
  Within(0, "its weights", [&] { raster::InterpolateBarycentrics(t, in.cotangent.data(), out->d_weights.data(), pool); });
  Within(RecordBytes(in, pool.threads, 3 * in.channels) + 8 * in.count() * in.channels * pool.threads, "its values",
         [&] { raster::InterpolateAttributes(t, in.cotangent.data(), out->d_values.data(), pool); });
  raster::Outlines o = {static_cast<int64_t>(in.edges.size()) / 4, in.channels, in.edges.data(), first.index.data(), first.depth.data(),
                        first.barycentrics.data(), nullptr, out->image.data(), in.cotangent.data()};
  out->marks.assign(all, 99), out->d_outline.assign(in.vertices.size(), Unwritten());
  const int64_t views = pool.threads * 40 * in.count();
  Within(views, "marks", [&] { raster::MarkOutlines(scene, o, out->marks.data(), pool); });
  o.marks = out->marks.data();
  Within(views + pool.threads * 8 * numbers, "outlines", [&] { raster::OutlineGradient(scene, o, out->d_outline.data(), pool); });
}

void RunTexture(const Inputs& in, const Pool& pool, Outputs* out) {
  static_assert(sizeof(bool) == 1, "masks are bytes");
  const texture::Task t = {in.batch, in.texels, in.channels, in.pixels(), in.common, in.levels, in.filter, in.wrap, in.texture.data(),
                           in.uv.data(), in.level.empty() ? nullptr : in.level.data(),
                           in.where.empty() ? nullptr : reinterpret_cast<const bool*>(in.where.data())};
  out->read.assign(in.batch * in.pixels() * in.channels, Unwritten()), out->d_texels.assign(in.texture.size(), Unwritten());
  out->d_uv.assign(in.uv.size(), Unwritten()), out->d_level.assign(in.level.size(), Unwritten());
  Within(0, "read", [&] { texture::Read(t, out->read.data(), pool); });
  Within(0, "locate", [&] {
    texture::Locate(t, in.cotangent.data(), out->d_uv.data(), in.level.empty() ? nullptr : out->d_level.data(), pool);
  });
  Within(0, "spread", [&] { texture::Spread(t, in.cotangent.data(), out->d_texels.data(), pool); });
}

Outputs Run(const Inputs& in, int threads, int most_layers) {
  std::vector<std::thread> helpers;
  helpers.reserve(4096);
  Pool pool;
  pool.threads = threads;
  pool.schedule = [&](std::function<void()> task) { helpers.emplace_back(std::move(task)); };
  Outputs out;
  out.layers.reserve(most_layers);
  for (int i = 0; i < most_layers; ++i) {
    out.layers.push_back(Draw(in, i == 0 ? nullptr : &out.layers.back(), pool));
    const Indices& index = out.layers.back().index;
    if (std::all_of(index.begin(), index.end(), [](int32_t x) { return x < 0; })) break;
  }
  RunMesh(in, pool, &out);
  RunTexture(in, pool, &out);
  for (std::thread& helper : helpers) helper.join();
  return out;
}

template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool Same(const Outputs& a, const Outputs& b) {
  if (a.layers.size() != b.layers.size() || !SameBits(a.marks, b.marks)) return false;
  for (size_t i = 0; i < a.layers.size(); ++i) {
    if (!SameBits(a.layers[i].index, b.layers[i].index)) return false;
  }
  for (size_t i = 0; i < a.arrays().size(); ++i) {
    if (!SameBits(*a.arrays()[i], *b.arrays()[i])) return false;
  }
  return true;
}

const char* CheckWritten(const Outputs& out) {
  for (const Array* a : out.arrays()) {
    for (const float& x : *a) {
      uint32_t bits;
      std::memcpy(&bits, &x, sizeof bits);
      if (bits == 0x7fdeadbe) return "a number left unwritten";
    }
  }
  for (const uint8_t mark : out.marks) {
    if (mark > 7) return "a mark of no meaning";
  }
  return nullptr;
}

bool IsDrawable(const Inputs& in, int64_t image, int64_t triangle) {
  for (int i = 0; i < 3; ++i) {
    const int64_t v = in.faces[3 * triangle + i];
    if (v < 0 || v >= in.count()) return false;
    for (int32_t k = 0; k < in.components; ++k) {
      if (!std::isfinite(in.vertices[(image * in.count() + v) * in.components + k])) return false;
    }
  }
  return true;
}

const char* CheckLayer(const Inputs& in, const Layer& layer) {
  const bool clip = in.components == 4;
  for (int64_t p = 0; p < in.batch * in.pixels(); ++p) {
    const int32_t i = layer.index[p];
    const float depth = layer.depth[p], *b = &layer.barycentrics[3 * p];
    if (i < -1 || i >= in.triangles()) return "an index of no triangle";
    if (i < 0) {
      if (depth != 0.0f || b[0] != 0.0f || b[1] != 0.0f || b[2] != 0.0f) return "something where nothing is seen";
      continue;
    }
    if (!IsDrawable(in, p / in.pixels(), i)) return "a triangle that cannot be drawn is seen";
    if (!(depth >= (clip ? -1.0f : kNearPlane) && depth <= (clip ? 1.0f : kFarthest))) return "a depth out of range";
    if (!(std::abs(b[0] + b[1] + b[2] - 1.0f) < 1e-5f)) return "weights that do not sum to one";
    for (int k = 0; k < 3; ++k) {
      if (!(b[k] > -1e-5f)) return "a weight below zero";
    }
  }
  return nullptr;
}

// How often the surface is crossed at each pixel.
const char* CheckCrossings(const Inputs& in, const Outputs& out) {
  if (in.hostile || (in.kind != Kind::kClosed && in.kind != Kind::kSheet)) return nullptr;
  for (int64_t p = 0; p < in.batch * in.pixels(); ++p) {
    int64_t times = 0;
    for (const Layer& layer : out.layers) times += layer.index[p] >= 0;
    if (in.kind == Kind::kSheet && times != 1) return "a pixel of a sheet is not covered once";
    if (in.kind == Kind::kClosed && times % 2) return "a closed surface is crossed an odd number of times";
  }
  return nullptr;
}

double SumOf(const Array& a) {
  double sum = 0.0;
  for (const float x : a) sum += x;
  return sum;
}

// Sums of gradients: each pixel gives its cotangent once.
const char* CheckGradients(const Inputs& in, const Outputs& out) {
  for (const Array* a : out.arrays()) {
    for (const float x : *a) {
      if (!std::isfinite(x)) return "a number is not finite";
    }
  }
  double seen = 0.0, read = 0.0, size = 1.0;
  for (int64_t p = 0; p < in.batch * in.pixels(); ++p) {
    for (int64_t c = 0; c < in.channels; ++c) {
      const double x = in.cotangent[p * in.channels + c];
      seen += out.layers[0].index[p] >= 0 ? x : 0.0;
      read += in.where.empty() || in.where[p] ? x : 0.0;
      size += std::abs(x);
    }
  }
  if (std::abs(SumOf(out.d_values) - seen) > 1e-5 * size) return "the gradient of values has another sum";
  if (in.wrap != texture::Wrap::kZero && std::abs(SumOf(out.d_texels) - read) > 1e-5 * size) return "that of texels has another sum";
  return nullptr;
}

// Faces of vertices that are not finite might as well name none: all bits stay.
const char* CheckRuined(const Inputs& in, const Outputs& bad, int layers) {
  if (!in.hostile || in.batch > 1) return nullptr;
  Inputs without = in;
  for (int64_t t = 0; t < in.triangles(); ++t) {
    if (!IsDrawable(in, 0, t)) without.faces[3 * t] = -1;
  }
  return Same(Run(without, 1, layers), bad) ? nullptr : "a triangle that cannot be drawn changes something";
}

const char* CheckScene(const Inputs& in) {
  const int layers = in.kind == Kind::kClosed ? 40 : 2;
  scratch_fault = nullptr;
  const Outputs out = Run(in, 1, layers);
  if (!Same(Run(in, 3, layers), out)) return "other bits with more threads";
  if (scratch_fault != nullptr) return "more scratch than stated";
  if (const char* fault = CheckWritten(out)) return fault;
  for (const Layer& layer : out.layers) {
    if (const char* fault = CheckLayer(in, layer)) return fault;
  }
  if (const char* fault = CheckCrossings(in, out)) return fault;
  if (!in.hostile) return CheckGradients(in, out);
  return CheckRuined(in, out, layers);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: rasterize_fuzz FIRST_SEED SEEDS\n");
    return 2;
  }
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) {
    Random random = {std::mt19937(seed)};
    const Inputs in = MakeInputs(&random);
    const char* fault = CheckScene(in);
    if (fault == nullptr) continue;
    ++faults;
    std::printf("seed %u (%s): %s\n", seed, Describe(in).c_str(), fault);
  }
  std::printf("%u scenes, %d faults\n", count, faults);
  return faults == 0 ? 0 : 1;
}
