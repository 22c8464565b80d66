// Pictures resized by two passes of weighted sums in whole numbers, as Pillow has them, bit for bit, by vector instructions.
//
// A weight is a whole number of 2^-22. A product of it and an 8-bit value does not fit the 16-bit multiply-add of AVX2, so weights come in
// two parts, weight = 2^11 high + low, and sums of both are put together at the end. That is exact: all fits 32 bits.
//
// Loaded by ctypes (ava_jax/data/resizing.py), which makes the tables of weights. Where the processor has no AVX2, Pillow serves.

#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#endif

namespace {

constexpr int kBits = 22, kLow = 11;
constexpr int kPad = 32;  // bytes after a row, which vectors may read and write

}  // namespace

extern "C" {

int ava_resize_supported() {
#ifdef AVX2
  return __builtin_cpu_supports("avx2") ? 1 : 0;
#else
  return 0;
#endif
}

#ifdef AVX2
namespace {

// high * 2^11 + low, rounded, to whole values; not clipped.
AVX2 inline __m256i Join(__m256i high, __m256i low) {
  const __m256i half = _mm256_set1_epi32(1 << (kBits - 1));
  return _mm256_srai_epi32(_mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, kLow), low), half), kBits);
}

// One row [width, 3] to out [columns, 3]. first: first input pixel of each column. weights: for each column and group of 4 taps 16 high
// parts, then 16 low ones: (w0, w1) four times, (w2, w3) four times.
AVX2 void ResizeRow(const uint8_t* row, uint8_t* out, int columns, int groups, const int32_t* first, const int16_t* weights) {
  const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                          6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i half = _mm_set1_epi32(1 << (kBits - 1));
  for (int x = 0; x < columns; ++x) {
    const uint8_t* in = row + 3 * first[x];
    const __m256i* w = reinterpret_cast<const __m256i*>(weights) + 2 * groups * x;
    __m256i high = _mm256_setzero_si256(), low = high;
    for (int g = 0; g < groups; ++g) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 12 * g));
      const __m256i values = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), spread);
      high = _mm256_add_epi32(high, _mm256_madd_epi16(values, _mm256_loadu_si256(w + 2 * g)));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(values, _mm256_loadu_si256(w + 2 * g + 1)));
    }
    const __m256i both = _mm256_add_epi32(_mm256_slli_epi32(high, kLow), low);
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    const __m128i value = _mm_srai_epi32(_mm_add_epi32(sum, half), kBits);
    const __m128i words = _mm_packs_epi32(value, value);
    const int pixel = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out + 3 * x, &pixel, 4);  // the fourth byte is the next column's, or padding
  }
}

// One row of values from `taps` rows, an even number, that lie `stride` bytes apart. weights: high part of each, then low part of each.
AVX2 void ResizeColumn(const uint8_t* rows, int64_t stride, uint8_t* out, int values, int taps, const int16_t* weights) {
  for (int i = 0; i < values; i += 16) {
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, low[2] = {high[0], high[0]};
    for (int t = 0; t < taps; t += 2) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + t * stride + i));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (t + 1) * stride + i));
      const __m256i pairs[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b))};
      int32_t two_high, two_low;
      std::memcpy(&two_high, weights + t, 4);
      std::memcpy(&two_low, weights + taps + t, 4);
      const __m256i w_high = _mm256_set1_epi32(two_high), w_low = _mm256_set1_epi32(two_low);
      for (int k = 0; k < 2; ++k) {
        high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(pairs[k], w_high));
        low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(pairs[k], w_low));
      }
    }
    const __m256i words = _mm256_packs_epi32(Join(high[0], low[0]), Join(high[1], low[1]));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);  // packing goes by halves
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    if (i + 16 <= values) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), bytes);
    } else {
      alignas(16) uint8_t rest[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(rest), bytes);
      std::memcpy(out + i, rest, values - i);
    }
  }
}

}  // namespace
#endif

// in: u8 [height, width, 3]. out: u8 [rows, columns, 3].
// first_x [columns], weights_x [columns, groups, 2, 16]: see ResizeRow. first_y [rows], weights_y [rows, 2, taps]: see ResizeColumn.
// The taps of a row or column may go beyond the picture where their weights are 0. Returns 0, or 1 where it cannot be done.
int ava_resize(const uint8_t* in, int height, int width, uint8_t* out, int rows, int columns, int groups, const int32_t* first_x,
               const int16_t* weights_x, int taps, const int32_t* first_y, const int16_t* weights_y) {
#ifdef AVX2
  try {
    static thread_local std::vector<uint8_t> between, last;
    const int64_t stride = 3 * static_cast<int64_t>(columns) + kPad;
    between.resize(stride * (height + taps));  // the last rows' taps of weight 0 read on
    last.resize(3 * static_cast<int64_t>(width) + 12 * groups + kPad);
    // Vectors read up to 12 * groups + 4 bytes from a column's first pixel on: into the next row, and the last rows from a copy.
    const int64_t bytes = 3 * static_cast<int64_t>(width) * height;
    for (int y = 0; y < height; ++y) {
      const uint8_t* row = in + 3 * static_cast<int64_t>(width) * y;
      if (3 * static_cast<int64_t>(width) * (y + 1) + 12 * groups + kPad > bytes) {
        std::memcpy(last.data(), row, 3 * static_cast<int64_t>(width));
        row = last.data();
      }
      ResizeRow(row, between.data() + stride * y, columns, groups, first_x, weights_x);
    }
    for (int y = 0; y < rows; ++y) {
      uint8_t* to = out + 3 * static_cast<int64_t>(columns) * y;
      ResizeColumn(between.data() + stride * first_y[y], stride, to, 3 * columns, taps, weights_y + 2 * taps * y);
    }
    return 0;
  } catch (...) {  // out of memory
    return 1;
  }
#else
  (void)in, (void)height, (void)width, (void)out, (void)rows, (void)columns, (void)groups, (void)first_x, (void)weights_x, (void)taps;
  (void)first_y, (void)weights_y;
  return 1;
#endif
}
}
