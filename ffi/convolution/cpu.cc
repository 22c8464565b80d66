#include "cpu.h"

#include <algorithm>
#include <vector>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace convolution {
namespace {

constexpr int kSide = 4;  // of the weights
constexpr int64_t kRowsOfTask = 8;
constexpr int64_t kPixelsAtOnce = 512, kRowsAtOnce = 8;  // that lie in a thread's own memory
constexpr int64_t kPixelsOfPart = 2048, kMostParts = 16;  // of sums over pixels: fixed, so that sums are the same on all machines

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

// Memory of this thread that stays with it from call to call: allocating it each time takes as long as a small layer. One for each use, as
// a thread makes one call at a time.
enum class Use { kWeights, kBias, kRows, kSums, kBiasSums };

template <Use use>
float* Keep(int64_t count) {
  static thread_local std::vector<float> kept;
  if (static_cast<int64_t>(kept.size()) < count) kept.resize(count);
  return kept.data();
}

template <Use use>
float* KeepZeroed(int64_t count) {
  float* kept = Keep<use>(count);
  std::fill(kept, kept + count, 0.0f);
  return kept;
}

int64_t Padded(int64_t channels) { return (channels + kVector - 1) / kVector * kVector; }

// Rows of a task: some tasks for each thread, so that the load is even.
int64_t RowsOfTask(int64_t rows, const Pool& pool) {
  return std::max<int64_t>(1, std::min(kRowsOfTask, rows / (4 * pool.threads)));
}

template <class Layer>
const float* PaddedBias(const Layer& c) {
  float* bias = KeepZeroed<Use::kBias>(Padded(c.out_channels));
  if (c.bias != nullptr) std::copy(c.bias, c.bias + c.out_channels, bias);
  return bias;
}

// Weights [taps, in_channels, padded out_channels], of all taps in the order of `tap`.
template <class Layer, class Tap>
const float* PackWeights(const Layer& c, int64_t taps, Tap tap) {
  const int64_t in = c.in_channels, out = c.out_channels, padded = Padded(out);
  float* packed = KeepZeroed<Use::kWeights>(taps * in * padded);
  for (int64_t t = 0; t < taps; ++t) {
    const float* from = c.weights + tap(t) * in * out;
    float* to = packed + t * in * padded;
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t o = 0; o < out; ++o) to[i * padded + o] = c.transposed ? from[o * in + i] : from[i * out + o];
    }
  }
  return packed;
}

// Row `row` of an image into `to`, one pixel of zeros on either side; all zeros outside of the image.
void CopyRow(const Convolution& c, int64_t image, int64_t row, float* to) {
  const int64_t length = c.columns * c.in_channels;
  if (row < 0 || row >= c.rows) {
    std::fill(to, to + length + 2 * c.in_channels, 0.0f);
    return;
  }
  std::fill(to, to + c.in_channels, 0.0f);
  std::fill(to + c.in_channels + length, to + length + 2 * c.in_channels, 0.0f);
  const int64_t at = (image * c.rows + row) * length;
  Chosen().copy({c.in + at, c.sign == nullptr ? nullptr : c.sign + at, 1, length, length, to + c.in_channels, nullptr});
}

// Calls run(image, first row, last row, scratch) for all rows [0, rows) of all images, some at a time. Scratch: `floats` per row, and two
// rows more.
template <class Run>
void ForRows(int64_t batch, int64_t rows, int64_t floats_of_row, const Pool& pool, const Run& run) {
  const int64_t step = RowsOfTask(batch * rows, pool), tasks = (rows + step - 1) / step;
  ParallelFor(pool, batch * tasks, [&](int64_t task, int) {
    const int64_t first = task % tasks * step;
    run(task / tasks, first, std::min(first + step, rows), Keep<Use::kRows>((step + 2) * floats_of_row));
  });
}

}  // namespace

void Gather(const Convolution& c, const Pool& pool) {
  const float* weights = PackWeights(c, kSide * kSide, [](int64_t t) { return t; });
  const float* bias = PaddedBias(c);
  const int64_t padded = Padded(c.out_channels), row_floats = (c.columns + 2) * c.in_channels;
  const int64_t rows = c.rows / 2, columns = c.columns / 2;
  ForRows(c.batch, rows, 2 * row_floats, pool, [&](int64_t image, int64_t first, int64_t last, float* scratch) {
    for (int64_t r = 2 * first - 1; r < 2 * last + 1; ++r) CopyRow(c, image, r, scratch + (r - 2 * first + 1) * row_floats);
    for (int64_t i = first; i < last; ++i) {
      RowProduct p = {};
      for (int k = 0; k < kSide; ++k) {
        p.rows[k] = scratch + (2 * (i - first) + k) * row_floats;
        p.weights[k] = weights + k * kSide * c.in_channels * padded;
      }
      p.row_count = kSide, p.length = kSide * c.in_channels, p.pixel_stride = 2 * c.in_channels;
      p.pixels = columns, p.channels = c.out_channels, p.padded = padded;
      p.bias = bias, p.activate = c.activate;
      p.out = c.out + (image * rows + i) * columns * c.out_channels, p.out_stride = c.out_channels;
      Chosen().multiply(p);
    }
  });
}

void Scatter(const Convolution& c, const Pool& pool) {
  // Along an axis output 2 i has taps 3 of input i - 1 and 1 of i; output 2 i + 1 has taps 2 of i and 0 of i + 1. Packed by parity of the
  // row, its input, parity of the column, its input.
  static constexpr int kTaps[2][2] = {{3, 1}, {2, 0}};
  const float* weights =
      PackWeights(c, kSide * kSide, [](int64_t t) { return kSide * kTaps[t / 8][t / 4 % 2] + kTaps[t / 2 % 2][t % 2]; });
  const float* bias = PaddedBias(c);
  const int64_t padded = Padded(c.out_channels), row_floats = (c.columns + 2) * c.in_channels;
  ForRows(c.batch, c.rows, row_floats, pool, [&](int64_t image, int64_t first, int64_t last, float* scratch) {
    for (int64_t r = first - 1; r < last + 1; ++r) CopyRow(c, image, r, scratch + (r - first + 1) * row_floats);
    for (int64_t y = 2 * first; y < 2 * last; ++y) {
      for (int64_t parity = 0; parity < 2; ++parity) {
        RowProduct p = {};
        for (int k = 0; k < 2; ++k) {  // the row in scratch: input row i - 1 or i (even y), i or i + 1 (odd y), one further for the margin
          p.rows[k] = scratch + (y / 2 - first + y % 2 + k) * row_floats + parity * c.in_channels;
          p.weights[k] = weights + ((y % 2 * 2 + k) * 2 + parity) * 2 * c.in_channels * padded;
        }
        p.row_count = 2, p.length = 2 * c.in_channels, p.pixel_stride = c.in_channels;
        p.pixels = c.columns, p.channels = c.out_channels, p.padded = padded;
        p.bias = bias, p.activate = c.activate;
        p.out = c.out + (((image * 2 * c.rows + y) * c.columns * 2) + parity) * c.out_channels, p.out_stride = 2 * c.out_channels;
        Chosen().multiply(p);
      }
    }
  });
}

namespace {

// One part's sums, for one row of taps: over its images' rows [first, last), counted through all images.
void CorrelateRows(const WeightGradient& g, int tap_row, int64_t first, int64_t last, float* sums, float* bias) {
  const int64_t padded = Padded(g.small_channels), columns = 2 * g.columns;
  const int64_t large_floats = (columns + 2) * g.large_channels, small_floats = g.columns * padded;
  const int64_t at_once = std::max<int64_t>(1, std::min(kRowsAtOnce, kPixelsAtOnce / std::max<int64_t>(1, g.columns)));
  float* scratch = KeepZeroed<Use::kRows>(at_once * (large_floats + small_floats));  // the margins stay zero
  const float *large[kRowsAtOnce], *small[kRowsAtOnce];
  const bool sums_large = g.cotangent_is_large && (tap_row == 1 || tap_row == 2);  // which read each row of the image once
  const bool sums_small = !g.cotangent_is_large && tap_row == 0;
  for (int64_t begin = first; begin < last; begin += at_once) {
    int64_t count = 0;
    for (int64_t at = begin; at < std::min(begin + at_once, last); ++at) {
      const int64_t image = at / g.rows, row = 2 * (at % g.rows) - 1 + tap_row;
      const bool inside = row >= 0 && row < 2 * g.rows;
      if (!inside && !sums_small) continue;
      float* to = scratch + count * (large_floats + small_floats);
      if (inside) {
        const int64_t from = (image * 2 * g.rows + row) * columns * g.large_channels;
        const float* sign = g.sign == nullptr || !g.cotangent_is_large ? nullptr : g.sign + from;
        Chosen().copy({g.large + from, sign, columns, g.large_channels, g.large_channels, to + g.large_channels, sums_large ? bias : nullptr});
      }
      const int64_t from = at * g.columns * g.small_channels;
      const float* sign = g.sign == nullptr || g.cotangent_is_large ? nullptr : g.sign + from;
      Chosen().copy({g.small + from, sign, g.columns, g.small_channels, padded, to + large_floats, sums_small ? bias : nullptr});
      if (!inside) continue;
      large[count] = to, small[count] = to + large_floats;
      ++count;
    }
    const int64_t taps = kSide * g.large_channels;
    Chosen().correlate({large, small, count, g.columns, 2 * g.large_channels, taps, padded, sums});
  }
}

}  // namespace

void Correlate(const WeightGradient& g, const Pool& pool) {
  const int64_t rows = g.batch * g.rows, padded = Padded(g.small_channels);
  const int64_t parts = std::max<int64_t>(1, std::min({kMostParts, rows, rows * g.columns / kPixelsOfPart}));
  const int64_t taps = kSide * g.large_channels, channels = g.cotangent_is_large ? g.large_channels : g.small_channels;
  float* sums = KeepZeroed<Use::kSums>(parts * kSide * taps * padded);
  float* biases = KeepZeroed<Use::kBiasSums>(parts * kSide * channels);
  ParallelFor(pool, parts * kSide, [&](int64_t task, int) {
    const int64_t part = task / kSide;
    float* own = sums + task * taps * padded;
    CorrelateRows(g, task % kSide, part * rows / parts, (part + 1) * rows / parts, own, biases + task * channels);
  });
  std::fill(g.bias, g.bias + channels, 0.0f);
  for (int64_t task = 0; task < parts * kSide; ++task) {
    for (int64_t i = 0; i < channels; ++i) g.bias[i] += biases[task * channels + i];
  }
  ParallelFor(pool, kSide * kSide, [&](int64_t tap, int) {
    for (int64_t i = 0; i < g.large_channels; ++i) {
      for (int64_t o = 0; o < g.small_channels; ++o) {
        const float* from = sums + ((tap * g.large_channels) + i) * padded + o;
        float sum = 0.0f;
        for (int64_t part = 0; part < parts; ++part) sum += from[part * kSide * taps * padded];
        const int64_t cotangent = g.cotangent_is_large ? i : o, other = g.cotangent_is_large ? o : i;
        g.weights[(tap * (g.cotangent_is_large ? g.small_channels : g.large_channels) + other) * channels + cotangent] = sum;
      }
    }
  });
}

void Multiply(const Product& p, const Pool& pool) {
  const float* weights = PackWeights(p, 1, [](int64_t t) { return t; });
  const float* bias = PaddedBias(p);
  ParallelFor(pool, (p.pixels + kPixelsAtOnce - 1) / kPixelsAtOnce, [&](int64_t chunk, int) {
    const int64_t first = chunk * kPixelsAtOnce, count = std::min(kPixelsAtOnce, p.pixels - first);
    RowProduct row = {};
    row.rows[0] = p.in + first * p.in_channels;
    if (p.sign != nullptr) {
      float* scratch = Keep<Use::kRows>(kPixelsAtOnce * p.in_channels);
      const int64_t length = count * p.in_channels;
      Chosen().copy({row.rows[0], p.sign + first * p.in_channels, 1, length, length, scratch, nullptr});
      row.rows[0] = scratch;
    }
    row.weights[0] = weights;
    row.row_count = 1, row.length = row.pixel_stride = p.in_channels;
    row.pixels = count, row.channels = p.out_channels, row.padded = Padded(p.out_channels);
    row.bias = bias, row.activate = p.activate;
    row.out = p.out + first * p.out_channels, row.out_stride = p.out_channels;
    Chosen().multiply(row);
  });
}

void CorrelateProduct(const ProductGradient& g, const Pool& pool) {
  const int64_t in = g.in_channels, out = g.out_channels, padded = Padded(out);
  const int64_t chunks = (g.pixels + kPixelsAtOnce - 1) / kPixelsAtOnce, parts = std::min(kMostParts, chunks);
  float* sums = KeepZeroed<Use::kSums>(parts * in * padded);
  float* biases = KeepZeroed<Use::kBiasSums>(parts * out);
  ParallelFor(pool, parts, [&](int64_t part, int) {
    float* scratch = Keep<Use::kRows>(kPixelsAtOnce * padded);
    for (int64_t chunk = part * chunks / parts; chunk < (part + 1) * chunks / parts; ++chunk) {
      const int64_t first = chunk * kPixelsAtOnce, count = std::min(kPixelsAtOnce, g.pixels - first);
      const float* sign = g.sign == nullptr ? nullptr : g.sign + first * out;
      Chosen().copy({g.cotangent + first * out, sign, count, out, padded, scratch, biases + part * out});
      const float* large = g.in + first * in;
      const float* small = scratch;
      Chosen().correlate({&large, &small, 1, count, in, in, padded, sums + part * in * padded});
    }
  });
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      float sum = 0.0f;
      for (int64_t part = 0; part < parts; ++part) sum += sums[(part * in + i) * padded + o];
      g.weights[i * out + o] = sum;
    }
    float sum = 0.0f;
    for (int64_t part = 0; part < parts; ++part) sum += biases[part * out + o];
    g.bias[o] = sum;
  }
}

}  // namespace convolution
}  // namespace ava
