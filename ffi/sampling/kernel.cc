// The inner loops of bilinear reads, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include "../common/lanes.h"

namespace ava {
namespace sampling {
namespace {

void Read(const Reads& r, const float* pixels, int64_t first, int64_t last, float* out) {
  for (int64_t p = first; p < last; ++p) {
    const float* corner[kCorners];
    float weight[kCorners];
    for (int k = 0; k < kCorners; ++k) {
      corner[k] = pixels + r.index[k * r.points + p] * r.channels;
      weight[k] = r.weights[k * r.points + p];
    }
    float* to = out + p * r.channels;
    int64_t c = 0;
    for (; c + kLanes <= r.channels; c += kLanes) {
      Floats sum = LoadFloats(corner[0] + c) * weight[0];
      for (int k = 1; k < kCorners; ++k) sum += LoadFloats(corner[k] + c) * weight[k];
      Store(to + c, sum);
    }
    for (; c < r.channels; ++c) {
      float sum = corner[0][c] * weight[0];
      for (int k = 1; k < kCorners; ++k) sum += corner[k][c] * weight[k];
      to[c] = sum;
    }
  }
}

void Weigh(const Reads& r, const float* pixels, const float* cotangent, int64_t first, int64_t last, float* d_weights) {
  for (int64_t p = first; p < last; ++p) {
    const float* given = cotangent + p * r.channels;
    for (int k = 0; k < kCorners; ++k) {
      const float* corner = pixels + r.index[k * r.points + p] * r.channels;
      Floats sums = Splat(0.0f);
      int64_t c = 0;
      for (; c + kLanes <= r.channels; c += kLanes) sums += LoadFloats(corner + c) * LoadFloats(given + c);
      float sum = Sum(sums);
      for (; c < r.channels; ++c) sum += corner[c] * given[c];
      d_weights[k * r.points + p] += sum;
    }
  }
}

void Spread(const Reads& r, const float* cotangent, int64_t first, int64_t last, float* d_pixels) {
  for (int64_t p = 0; p < r.points; ++p) {
    const float* given = cotangent + p * r.channels;
    for (int k = 0; k < kCorners; ++k) {
      float* to = d_pixels + r.index[k * r.points + p] * r.channels;
      const float weight = r.weights[k * r.points + p];
      int64_t c = first;
      for (; c + kLanes <= last; c += kLanes) Store(to + c, LoadFloats(to + c) + LoadFloats(given + c) * weight);
      for (; c < last; ++c) to[c] += given[c] * weight;
    }
  }
}

}  // namespace

extern const Kernels AVA_KERNELS = {Read, Weigh, Spread};

}  // namespace sampling
}  // namespace ava
