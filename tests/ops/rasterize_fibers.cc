// The CUDA kernels of the rasteriser's gradients, of interpolation, textures and outlines compiled for a CPU with fibers/cuda_runtime.h,
// as a library that rasterize_fibers_test.py loads.
#include <cmath>
#include <cstring>
#include <memory>

#include "cuda_runtime.h"

// What the other kernels do without.
inline double __dmul_rn(double a, double b) { return a * b; }
inline unsigned atomicAdd(unsigned* p, unsigned x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline unsigned atomicCAS(unsigned* p, unsigned expected, unsigned x) {
  __atomic_compare_exchange_n(p, &expected, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <class T>
T atomicMax(T* p, T x) {  // fibers take turns
  const T before = *p;
  *p = before > x ? before : x;
  return before;
}

#define __noinline__
#include "../../ffi/rasterize/cuda/gradient.cu"
#include "../../ffi/rasterize/cuda/outline.cu"
#include "../../ffi/texture/cuda/texture.cu"

namespace {

using namespace ava;

// Scratch of as many bytes as a call asks for, full of what it must not count on; nothing beyond it may be written.
template <class Run>
int WithScratch(int64_t bytes, const Run& run) {
  constexpr int64_t kBeyond = 64;
  std::unique_ptr<unsigned char[]> scratch(new unsigned char[bytes + kBeyond]);
  std::memset(scratch.get(), 0xa5, bytes + kBeyond);
  const int error = run(scratch.get());
  for (int64_t i = 0; i < kBeyond; ++i) {
    if (scratch[bytes + i] != 0xa5) return -1;
  }
  return error;
}

rasterize::Scene SceneOf(const int64_t* sizes, const float* vertices, const int32_t* faces, float low, float high) {
  return {sizes[0],
          sizes[1],
          sizes[2],
          static_cast<int32_t>(sizes[3]),
          static_cast<int32_t>(sizes[4]),
          static_cast<int32_t>(sizes[5]),
          low,
          high,
          vertices,
          faces};
}

}  // namespace

extern "C" {

void set_order(int order, unsigned seed) { fibers::SetSchedule({static_cast<fibers::Schedule::Order>(order), seed}); }

// sizes: batch, vertices, triangles, components, height, width, channels or edges.
int rasterize_gradient(const int64_t* sizes, const float* vertices, const int32_t* faces, float low, float high, const int32_t* index,
                       const float* d_barycentrics, const float* d_depth, float* d_vertices) {
  const rasterize::Scene scene = SceneOf(sizes, vertices, faces, low, high);
  return WithScratch(rasterize::CudaGradientScratch(scene), [&](void* scratch) {
    return rasterize::CudaRasterizeGradient(scene, index, d_barycentrics, d_depth, scratch, d_vertices, nullptr);
  });
}

int interpolate(const int64_t* sizes, int common, const float* values, const int32_t* faces, const int32_t* index,
                const float* barycentrics, const float* cotangent, float* out, float* d_barycentrics, float* d_values) {
  const rasterize::Interpolation t = {sizes[0],     sizes[1], sizes[6], sizes[2], sizes[4],    sizes[5],
                                      common != 0, values,   faces,    index,    barycentrics};
  int errors = rasterize::CudaInterpolate(t, out, nullptr);
  errors |= rasterize::CudaInterpolateBarycentrics(t, cotangent, d_barycentrics, nullptr);
  return errors | WithScratch(rasterize::CudaAttributesScratch(t), [&](void* scratch) {
           return rasterize::CudaInterpolateAttributes(t, cotangent, scratch, d_values, nullptr);
         });
}

int mark(const int64_t* sizes, const float* vertices, const int32_t* faces, float low, float high, const int32_t* edges,
         const int32_t* index, const float* barycentrics, const float* depth, uint8_t* marks) {
  const rasterize::Outlines o = {sizes[6], 0, edges, index, depth, barycentrics, nullptr, nullptr, nullptr};
  return WithScratch(rasterize::kMarkScratch, [&](void* scratch) {
    return rasterize::CudaMarkOutlines(SceneOf(sizes, vertices, faces, low, high), o, scratch, marks, nullptr);
  });
}

int outline_gradient(const int64_t* sizes, const float* vertices, const int32_t* faces, float low, float high, const int32_t* edges,
                     const int32_t* index, const float* barycentrics, const float* depth, const uint8_t* marks, int64_t channels,
                     const float* image, const float* cotangent, float* d_vertices) {
  const rasterize::Scene scene = SceneOf(sizes, vertices, faces, low, high);
  const rasterize::Outlines o = {sizes[6], channels, edges, index, depth, barycentrics, marks, image, cotangent};
  return WithScratch(rasterize::CudaOutlineScratch(scene, sizes[6]), [&](void* scratch) {
    return rasterize::CudaOutlineGradient(scene, o, scratch, d_vertices, nullptr);
  });
}

// sizes: batch, height, width, channels, then rows and columns of each level.
int sample(const int64_t* sizes, int levels, int common, int filter, int wrap, const float* texels, const float* uv, const float* level,
           const bool* where, const float* cotangent, float* out, float* d_uv, float* d_level, float* d_texels) {
  texture::Task t = {};
  t.batch = sizes[0], t.pixels = sizes[1] * sizes[2], t.channels = sizes[3], t.common = common != 0;
  t.levels.count = levels;
  for (int i = 0; i < levels; ++i) {
    t.levels.height[i] = static_cast<int32_t>(sizes[4 + 2 * i]), t.levels.width[i] = static_cast<int32_t>(sizes[5 + 2 * i]);
    t.levels.first[i] = t.texels;
    t.texels += sizes[4 + 2 * i] * sizes[5 + 2 * i];
  }
  t.filter = static_cast<texture::Filter>(filter), t.wrap = static_cast<texture::Wrap>(wrap);
  t.texture = texels, t.uv = uv, t.level = level, t.where = where;
  const int errors = texture::CudaRead(t, out, nullptr) | texture::CudaLocate(t, cotangent, d_uv, d_level, nullptr);
  return errors | WithScratch(texture::CudaSpreadScratch(t, sizes[2]), [&](void* scratch) {
           return texture::CudaSpread(t, sizes[2], cotangent, scratch, d_texels, nullptr);
         });
}
}
