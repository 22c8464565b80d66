// The inner loops of the convolutions, of which there is one copy for each instruction set.
#pragma once

#include <cstdint>

namespace ava {
namespace convolution {

constexpr float kSlope = 0.2f;  // of LeakyReLU
constexpr int kVector = 8;      // channels are padded to multiples of this in weights and in sums

// out[p, o] = activation(bias[o] + sum over rows r and t < length of rows[r][p * pixel_stride + t] * weights[r][t * padded + o]).
struct RowProduct {
  const float* rows[4];
  const float* weights[4];  // [length, padded]
  int row_count;
  int64_t length, pixel_stride;
  int64_t pixels, channels, padded;
  const float* bias;  // [padded]
  bool activate;
  float* out;
  int64_t out_stride;  // floats between pixels
};

// sums[t, o] += sum over rows r and pixels p of big[r][p * pixel_stride + t] * small[r][p * padded + o], t < length.
struct Correlation {
  const float* const* big;
  const float* const* small;
  int64_t rows, pixels, pixel_stride, length, padded;
  float* sums;  // [length, padded]
};

// Copies `pixels` pixels of `channels` floats to pixels of `padded` ones, filled up with zeros. With an activation's output, `sign`, the
// values are multiplied by its slope. `sums` [channels], where there are any, gain the sum over pixels.
struct RowCopy {
  const float* from;
  const float* sign;  // as `from`; null: none
  int64_t pixels, channels, padded;
  float* to;
  float* sums;  // null: none
};

struct Kernels {
  void (*multiply)(const RowProduct&);
  void (*correlate)(const Correlation&);
  void (*copy)(const RowCopy&);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace convolution
}  // namespace ava
