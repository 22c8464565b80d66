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
  const Floats p = ExpOverPower(within, k);
  // In two factors: 2^128 has no bits of its own.
  const Ints low = k / 2, bits = (low + 127) << 23, rest = (k - low + 127) << 23;
  Floats power, other;
  std::memcpy(&power, &bits, sizeof power);
  std::memcpy(&other, &rest, sizeof other);
  const Floats found = p * power * other;
  const Floats past = x > kLargest ? Splat(__builtin_inff()) : (x < -87.4f ? Splat(0.0f) : found);
  return x == x ? past : x;
}

void ForwardTexel(const Layout& l, const float* colour, const float* log_opacity, float* column) {
  const int64_t d = l.side, step = d * d * 4;  // from a voxel to the one above it
  for (int64_t z = 0; z < d; z += kLanes) {
    const int64_t count = d - z < kLanes ? d - z : kLanes;
    Floats e = Splat(0.0f);
    if (count == kLanes) {
      e = LoadFloats(log_opacity + z);
    } else {
      for (int64_t i = 0; i < count; ++i) e[i] = log_opacity[z + i];
    }
    e = ExpOfAll(e);
    for (int64_t i = 0; i < count; ++i) {
      const float* c = colour + 3 * (z + i);
      Float4 v = Float4{c[0], c[1], c[2], 0.0f} * l.scale + l.offset;
      v = v <= 0.0f ? Float4{0.0f, 0.0f, 0.0f, 0.0f} : v;  // NaN stays
      v[3] = e[i];
      Store(column + (z + i) * step, v);
    }
  }
}

void BackwardTexel(const Layout& l, const float* rgba, const float* cotangent, float* colour, float* log_opacity) {
  const int64_t d = l.side, step = d * d * 4;
  for (int64_t z = 0; z < d; ++z) {
    const Float4 v = LoadFloat4(rgba + z * step), g = LoadFloat4(cotangent + z * step);
    const Float4 slope = v > 0.0f ? Float4{l.scale, l.scale, l.scale, l.scale} : Float4{0.0f, 0.0f, 0.0f, 0.0f};
    const Float4 d_colour = slope * g;
    for (int i = 0; i < 3; ++i) colour[3 * z + i] = d_colour[i];
    log_opacity[z] = v[3] * g[3];
  }
}

// Box by box, as a box lies in one piece: calls visit(texel, its lowest voxel in floats).
template <class Visit>
AVA_LANES void ForTexels(const Layout& l, int64_t row, Visit visit) {
  const int64_t d = l.side, boxes = l.slab / d;
  for (int64_t box = 0; box < boxes; ++box) {
    for (int64_t y = 0; y < d; ++y) {
      const int64_t texel = (row * d + y) * l.slab + box * d, voxel = (((row * boxes + box) * d) * d + y) * d * 4;
      for (int64_t x = 0; x < d; ++x) visit(texel + x, voxel + x * 4);
    }
  }
}

void Forward(const Layout& l, const Arrays& a, int64_t row) {
  const int64_t d = l.side;
  ForTexels(l, row, [&](int64_t texel, int64_t voxel) {
    ForwardTexel(l, a.colour + texel * 3 * d, a.log_opacity + texel * d, a.rgba + voxel);
  });
}

void Backward(const Layout& l, const GradientArrays& a, int64_t row) {
  const int64_t d = l.side;
  ForTexels(l, row, [&](int64_t texel, int64_t voxel) {
    BackwardTexel(l, a.rgba + voxel, a.cotangent + voxel, a.d_colour + texel * 3 * d, a.d_log_opacity + texel * d);
  });
}

}  // namespace

extern const Kernels AVA_KERNELS = {Forward, Backward};

}  // namespace voxels
}  // namespace ava
