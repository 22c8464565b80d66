// 4 x 4 convolutions of stride 2, their transposes and weight gradients on CPU threads, of float32 images with channels last.
//
// With k = 0..3 along each axis, and zeros outside of images:
//   Gather:    out[i] = sum over k of in[2 i - 1 + k] weights[k]        a convolution; the input gradient of its transpose
//   Scatter:   out[2 i - 1 + k] += in[i] weights[k]                     the transpose; the input gradient of the convolution
//   Correlate: weights[k] = sum over i of large[2 i - 1 + k] small[i]   the weight gradient of both
//
// Memory beyond inputs and outputs, which threads keep from call to call: the weights once, and a few rows of pixels per thread; Correlate:
// the weights for each of at most 16 parts. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "../common/parallel.h"

namespace ava {
namespace convolution {

// in [batch, rows, columns, in_channels] to out [batch, rows', columns', out_channels], half (Gather) or twice (Scatter) the size.
struct Convolution {
  int64_t batch, rows, columns, in_channels, out_channels;
  const float* in;
  const float* sign;     // as `in`: a LeakyReLU's output, whose slope `in` is multiplied by first; null: none
  const float* weights;  // [4, 4, in_channels, out_channels]
  bool transposed;       // [4, 4, out_channels, in_channels] instead
  const float* bias;     // [out_channels]; null: none
  bool activate;         // whether LeakyReLU follows
  float* out;
};

// large [batch, 2 rows, 2 columns, large_channels], small [batch, rows, columns, small_channels].
struct WeightGradient {
  int64_t batch, rows, columns, large_channels, small_channels;
  const float* large;
  const float* small;
  bool cotangent_is_large;  // which of both is the cotangent
  const float* sign;        // as the cotangent, as above; null: none
  float* weights;           // [4, 4, C, C'], C of the one that is no cotangent, C' of the cotangent
  float* bias;              // [C']: the cotangent's sum over pixels
};

// in [pixels, in_channels] times weights to out [pixels, out_channels]: a dense layer, or a 1 x 1 convolution; fields as of Convolution.
struct Product {
  int64_t pixels, in_channels, out_channels;
  const float* in;
  const float* sign;
  const float* weights;  // [in_channels, out_channels]
  bool transposed;       // [out_channels, in_channels] instead
  const float* bias;
  bool activate;
  float* out;
};

// Gradients of a Product's weights [in_channels, out_channels] and bias [out_channels] under its cotangent [pixels, out_channels].
struct ProductGradient {
  int64_t pixels, in_channels, out_channels;
  const float* in;
  const float* cotangent;
  const float* sign;  // as the cotangent; null: none
  float* weights;
  float* bias;
};

// All throw std::bad_alloc when memory runs out.
void Gather(const Convolution& c, const Pool& pool);
void Scatter(const Convolution& c, const Pool& pool);
void Correlate(const WeightGradient& g, const Pool& pool);
void Multiply(const Product& p, const Pool& pool);
void CorrelateProduct(const ProductGradient& g, const Pool& pool);

}  // namespace convolution
}  // namespace ava
