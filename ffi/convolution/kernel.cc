// The inner loops of the convolutions, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include "../common/lanes.h"

namespace ava {
namespace convolution {
namespace {

static_assert(kVector == kLanes, "channels are padded to whole vectors");

#if defined(__AVX512VL__)
constexpr bool kManyRegisters = true;  // 32, else 16
#else
constexpr bool kManyRegisters = false;
#endif

// How many pixels, or taps, are summed at once beside `vectors` vectors of channels: their sums stay in registers.
constexpr int SumsBeside(int vectors) {
  if (kManyRegisters) return vectors < 4 ? 8 : 4;
  return vectors == 1 ? 8 : vectors < 4 ? 4 : 2;
}

template <int kVectors, int kPixels>
AVA_LANES void MultiplyTile(const RowProduct& p, int64_t pixel, int64_t channel) {
  Floats sums[kPixels][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const Floats bias = LoadFloats(p.bias + channel + kLanes * v);
    for (int i = 0; i < kPixels; ++i) sums[i][v] = bias;
  }
  const int64_t stride = p.pixel_stride;
  for (int r = 0; r < p.row_count; ++r) {
    const float* in = p.rows[r] + pixel * stride;
    const float* weights = p.weights[r] + channel;
    for (int64_t t = 0; t < p.length; ++t, ++in, weights += p.padded) {
      Floats w[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) w[v] = LoadFloats(weights + kLanes * v);
#pragma GCC unroll 8
      for (int i = 0; i < kPixels; ++i) {
        const Floats x = Splat(in[i * stride]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[i][v] += x * w[v];
      }
    }
  }
  const int64_t left = p.channels - channel;
  for (int i = 0; i < kPixels; ++i) {
    float* out = p.out + (pixel + i) * p.out_stride + channel;
    for (int v = 0; v < kVectors; ++v) {
      Floats y = sums[i][v];
      if (p.activate) y = y >= 0.0f ? y : y * kSlope;
      if (left >= kLanes * (v + 1)) {
        Store(out + kLanes * v, y);
      } else {
        for (int64_t o = kLanes * v; o < left; ++o) out[o] = y[o - kLanes * v];
      }
    }
  }
}

// All pixels from `pixel` on, kPixels at a time, what is left by halves.
template <int kVectors, int kPixels>
AVA_LANES void MultiplyPixels(const RowProduct& p, int64_t pixel, int64_t channel) {
  for (; pixel + kPixels <= p.pixels; pixel += kPixels) MultiplyTile<kVectors, kPixels>(p, pixel, channel);
  if constexpr (kPixels > 1) MultiplyPixels<kVectors, kPixels / 2>(p, pixel, channel);
}

template <int kVectors>
void MultiplyChannels(const RowProduct& p, int64_t channel) {
  MultiplyPixels<kVectors, SumsBeside(kVectors)>(p, 0, channel);
}

void Multiply(const RowProduct& p) {
  for (int64_t channel = 0; channel < p.padded;) {
    const int64_t vectors = (p.padded - channel) / kLanes;
    if (vectors >= 4) {
      MultiplyChannels<4>(p, channel), channel += 4 * kLanes;
    } else if (vectors == 3) {
      MultiplyChannels<3>(p, channel), channel += 3 * kLanes;
    } else if (vectors == 2) {
      MultiplyChannels<2>(p, channel), channel += 2 * kLanes;
    } else {
      MultiplyChannels<1>(p, channel), channel += kLanes;
    }
  }
}

template <int kVectors, int kTaps>
AVA_LANES void CorrelateTile(const Correlation& c, int64_t tap, int64_t channel) {
  Floats sums[kTaps][kVectors] = {};
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* big = c.big[r] + tap;
    const float* small = c.small[r] + channel;
    for (int64_t pixel = 0; pixel < c.pixels; ++pixel, big += c.pixel_stride, small += c.padded) {
      Floats y[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) y[v] = LoadFloats(small + kLanes * v);
#pragma GCC unroll 8
      for (int t = 0; t < kTaps; ++t) {
        const Floats x = Splat(big[t]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[t][v] += x * y[v];
      }
    }
  }
  for (int t = 0; t < kTaps; ++t) {
    float* out = c.sums + (tap + t) * c.padded + channel;
    for (int v = 0; v < kVectors; ++v) Store(out + kLanes * v, LoadFloats(out + kLanes * v) + sums[t][v]);
  }
}

template <int kVectors, int kTaps>
AVA_LANES void CorrelateTaps(const Correlation& c, int64_t tap, int64_t channel) {
  for (; tap + kTaps <= c.length; tap += kTaps) CorrelateTile<kVectors, kTaps>(c, tap, channel);
  if constexpr (kTaps > 1) CorrelateTaps<kVectors, kTaps / 2>(c, tap, channel);
}

template <int kVectors>
void CorrelateChannels(const Correlation& c, int64_t channel) {
  CorrelateTaps<kVectors, SumsBeside(kVectors)>(c, 0, channel);
}

void Correlate(const Correlation& c) {
  for (int64_t channel = 0; channel < c.padded;) {
    const int64_t vectors = (c.padded - channel) / kLanes;
    if (vectors >= 4) {
      CorrelateChannels<4>(c, channel), channel += 4 * kLanes;
    } else if (vectors == 3) {
      CorrelateChannels<3>(c, channel), channel += 3 * kLanes;
    } else if (vectors == 2) {
      CorrelateChannels<2>(c, channel), channel += 2 * kLanes;
    } else {
      CorrelateChannels<1>(c, channel), channel += kLanes;
    }
  }
}

// `count` floats, times the slope of an activation whose output is `sign`, if there is one.
AVA_LANES void CopyFlat(const float* from, const float* sign, int64_t count, float* to) {
  int64_t i = 0;
  if (sign == nullptr) {
    for (; i + kLanes <= count; i += kLanes) Store(to + i, LoadFloats(from + i));
    for (; i < count; ++i) to[i] = from[i];
    return;
  }
  for (; i + kLanes <= count; i += kLanes) {
    const Floats x = LoadFloats(from + i), y = LoadFloats(sign + i);
    Store(to + i, y >= 0.0f ? x : x * kSlope);
  }
  for (; i < count; ++i) to[i] = sign[i] >= 0.0f ? from[i] : kSlope * from[i];
}

AVA_LANES void AddPixels(const float* pixels, int64_t count, int64_t channels, int64_t stride, float* sums) {
  int64_t i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    Floats sum = LoadFloats(sums + i);
    for (int64_t pixel = 0; pixel < count; ++pixel) sum += LoadFloats(pixels + pixel * stride + i);
    Store(sums + i, sum);
  }
  for (; i < channels; ++i) {
    float sum = sums[i];
    for (int64_t pixel = 0; pixel < count; ++pixel) sum += pixels[pixel * stride + i];
    sums[i] = sum;
  }
}

void Copy(const RowCopy& c) {
  if (c.padded == c.channels) {
    CopyFlat(c.from, c.sign, c.pixels * c.channels, c.to);
  } else {
    for (int64_t pixel = 0; pixel < c.pixels; ++pixel) {
      const int64_t at = pixel * c.channels;
      float* to = c.to + pixel * c.padded;
      CopyFlat(c.from + at, c.sign == nullptr ? nullptr : c.sign + at, c.channels, to);
      for (int64_t i = c.channels; i < c.padded; ++i) to[i] = 0.0f;
    }
  }
  if (c.sums != nullptr) AddPixels(c.to, c.pixels, c.channels, c.padded, c.sums);
}

}  // namespace

extern const Kernels AVA_KERNELS = {Multiply, Correlate, Copy};

}  // namespace convolution
}  // namespace ava
