// The inner loops between slabs and voxels, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include "../common/lanes.h"

namespace ava {
namespace voxels {
namespace {

constexpr float kLargest = 88.7228f;  // whose exponential is finite

// exp(x) for all x, to 2 units in the last place; NaN stays.
AVA_LANES Floats ExpOfAll(Floats x) {
  const Floats within = Max(Min(x, Splat(kLargest)), Splat(-87.0f));
  const Floats half = within < 0.0f ? Splat(-0.5f) : Splat(0.5f);
  const Ints k = ToInts(within * 1.44269504f + half);
  const Floats n = ToFloats(k);
  const Floats r = (within - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  Floats p = r * 1.3888889e-3f + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // In two factors: 2^128 has no bits of its own.
  const Ints low = k / 2, bits = (low + 127) << 23, rest = (k - low + 127) << 23;
  Floats power, other;
  std::memcpy(&power, &bits, sizeof power);
  std::memcpy(&other, &rest, sizeof other);
  const Floats found = p * power * other;
  const Floats past = x > kLargest ? Splat(__builtin_inff()) : (x < -87.4f ? Splat(0.0f) : found);
  return x == x ? past : x;
}

// In floats, of a row of texels: where its first voxel lies.
int64_t FirstVoxel(const Layout& l, int64_t row) {
  const int64_t boxes = l.slab / l.side, image = row / l.slab, y = row % l.slab;
  const int64_t box = (image * boxes + y / l.side) * boxes;
  return (box * l.side * l.side * l.side + y % l.side * l.side) * 4;
}

void Forward(const Layout& l, const Arrays& a, int64_t row) {
  const int64_t d = l.side, of_box = d * d * d * 4;
  const float* colour = a.colour + row * l.slab * 3 * d;
  const float* log_opacity = a.log_opacity + row * l.slab * d;
  float* box = a.rgba + FirstVoxel(l, row);
  for (int64_t first = 0; first < l.slab; first += d, box += of_box) {
    for (int64_t x = 0; x < d; ++x) {
      const float *from = colour + (first + x) * 3 * d, *exponent = log_opacity + (first + x) * d;
      for (int64_t z = 0; z < d; z += kLanes) {
        const int64_t count = d - z < kLanes ? d - z : kLanes;
        Floats e = Splat(0.0f);
        if (count == kLanes) {
          e = LoadFloats(exponent + z);
        } else {
          for (int64_t i = 0; i < count; ++i) e[i] = exponent[z + i];
        }
        e = ExpOfAll(e);
        for (int64_t i = 0; i < count; ++i) {
          const float* c = from + 3 * (z + i);
          Float4 v = Float4{c[0], c[1], c[2], 0.0f} * l.scale + l.offset;
          v = v <= 0.0f ? Float4{0.0f, 0.0f, 0.0f, 0.0f} : v;  // NaN stays
          v[3] = e[i];
          Store(box + ((z + i) * d * d + x) * 4, v);
        }
      }
    }
  }
}

void Backward(const Layout& l, const GradientArrays& a, int64_t row) {
  const int64_t d = l.side, of_box = d * d * d * 4;
  float* colour = a.d_colour + row * l.slab * 3 * d;
  float* log_opacity = a.d_log_opacity + row * l.slab * d;
  int64_t box = FirstVoxel(l, row);
  for (int64_t first = 0; first < l.slab; first += d, box += of_box) {
    for (int64_t z = 0; z < d; ++z) {
      for (int64_t x = 0; x < d; ++x) {
        const int64_t at = box + (z * d * d + x) * 4;
        const Float4 v = LoadFloat4(a.rgba + at), g = LoadFloat4(a.cotangent + at);
        const Float4 slope = v > 0.0f ? Float4{l.scale, l.scale, l.scale, l.scale} : Float4{0.0f, 0.0f, 0.0f, 0.0f};
        const Float4 d_colour = slope * g;
        float* to = colour + (first + x) * 3 * d + 3 * z;
        for (int i = 0; i < 3; ++i) to[i] = d_colour[i];
        log_opacity[(first + x) * d + z] = v[3] * g[3];
      }
    }
  }
}

}  // namespace

extern const Kernels AVA_KERNELS = {Forward, Backward};

}  // namespace voxels
}  // namespace ava
