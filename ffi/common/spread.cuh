// The transpose of reads: what pixels read is given back to the rows of arrays that they read it from, a sum a number, in fixed point
// (fixed.cuh). The same bits whoever comes first.
//
// A block takes a tile of pixels and adds up what goes to each row that they read in shared memory, whose places it finds by a hash; only
// those sums go to the totals. A number's scale is its array's: no sum is larger than that of all cotangents' magnitudes.
//
// `Read` says what pixel `at` of all images reads:
//   static constexpr int kTaps             at most 4
//   int Sides()                            1, or 2 times the taps
//   bool IsRead(at)
//   float Most(at)                         at least the sum of its weights' magnitudes
//   void TapsOf(at, side, row, weight)     rows, -1 for none
#pragma once

#include <cuda_runtime.h>

#include "fixed.cuh"
#include "launch.cuh"

namespace ava {

// From cotangents [images, height, width, channels] to arrays [images or 1, rows, channels], of less than 2^32 - 1 rows: the hash keeps 32
// bits.
struct Spreading {
  int64_t images, height, width, rows, channels;
  bool common;
};

namespace {

constexpr int kSpreadColumns = 16, kSpreadRows = 8, kSpreadThreads = kSpreadColumns * kSpreadRows, kSlots = 1024, kTogether = 3;
constexpr unsigned kNoRow = ~0u;
#ifdef AVA_SMALL_LIMITS
constexpr int64_t kMostTotals = 100, kMostPartials = 3;
#else
constexpr int64_t kMostTotals = int64_t{1} << 26;  // numbers of a pass, 512 MB
constexpr int64_t kMostPartials = 512;             // per array
#endif

struct SpreadSpace {
  Fixed* totals;       // [numbers of a pass]
  double* partials;    // [arrays, partials]
  int32_t* exponents;  // [arrays]
  int64_t partials_each;
};

inline int64_t ArraysOf(const Spreading& s) { return s.common ? 1 : s.images; }
inline int64_t NumbersOf(const Spreading& s) { return ArraysOf(s) * s.rows * s.channels; }

inline int64_t LayOutSpread(void* scratch, const Spreading& s, SpreadSpace* space) {
  const int64_t pixels = s.height * s.width * (s.common ? s.images : 1), few = (pixels + 2047) / 2048;
  space->partials_each = few < 1 ? 1 : few < kMostPartials ? few : kMostPartials;
  const int64_t numbers = NumbersOf(s) < kMostTotals ? NumbersOf(s) : kMostTotals;
  char* at = static_cast<char*>(scratch);
  space->totals = reinterpret_cast<Fixed*>(at);
  space->partials = reinterpret_cast<double*>(at + numbers * 8);
  space->exponents = reinterpret_cast<int32_t*>(at + numbers * 8 + ArraysOf(s) * space->partials_each * 8);
  return numbers * 8 + ArraysOf(s) * (space->partials_each * 8 + 4);
}

inline int64_t SpreadScratch(const Spreading& s) {
  SpreadSpace space;
  return LayOutSpread(nullptr, s, &space);
}

// The sum over a block of 256, by a fixed tree; thread 0 has it.
__device__ __forceinline__ double BlockSum(double x) {
  __shared__ double sum[256];
  sum[threadIdx.x] = x;
  for (unsigned by = 128; by > 0; by /= 2) {
    __syncthreads();
    if (threadIdx.x < by) sum[threadIdx.x] += sum[threadIdx.x + by];
  }
  return sum[0];
}

// Sums the cotangents' magnitudes, and clears the totals.
template <class Read>
__global__ void __launch_bounds__(256) SumMagnitudes(Read read, Spreading s, SpreadSpace space, const float* cotangent, int64_t totals) {
  const int64_t array = blockIdx.x / space.partials_each, partial = blockIdx.x % space.partials_each;
  const int64_t each = s.height * s.width, pixels = s.common ? s.images * each : each;
  double sum = 0.0;
  for (int64_t i = partial * 256 + threadIdx.x; i < pixels; i += space.partials_each * 256) {
    const int64_t at = array * each + i;
    if (!read.IsRead(at)) continue;
    float most = 0.0f;
    for (int64_t c = 0; c < s.channels; ++c) {
      const float g = fabsf(cotangent[at * s.channels + c]);
      if (g <= 3.4028235e38f && g > most) most = g;  // what is not finite is left out
    }
    const float weight = read.Most(at);
    if (weight <= 3.4028235e38f) sum += static_cast<double>(most) * weight;
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) space.partials[blockIdx.x] = sum;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; i < totals; i += static_cast<int64_t>(gridDim.x) * 256) {
    space.totals[i] = 0;
  }
}

// A block an array.
__global__ void __launch_bounds__(256) FindScales(SpreadSpace space) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < space.partials_each; i += 256) sum += space.partials[blockIdx.x * space.partials_each + i];
  sum = BlockSum(sum);
  if (threadIdx.x != 0) return;
  const int exponent = ExponentOf(sum);
  space.exponents[blockIdx.x] = exponent > kLeastExponent ? exponent : kLeastExponent;
}

// What a tile's pixels give to the rows that they read. A sum's halves are separate: shared memory adds 32 bits at a time.
struct Table {
  unsigned row[kSlots], low[kTogether][kSlots], high[kTogether][kSlots];
  int any;
};

__device__ __forceinline__ Table& TileTable() {
  __shared__ Table table;
  return table;
}

__device__ __forceinline__ int SlotOf(Table& table, unsigned row) {
  unsigned slot = (row + (row >> 10) * 61u) % kSlots;  // of a texture of 1024 columns: column + 61 rows
  for (;; slot = (slot + 1) % kSlots) {
    const unsigned found = atomicCAS(&table.row[slot], kNoRow, row);
    if (found == kNoRow || found == row) return static_cast<int>(slot);
  }
}

__device__ __forceinline__ void AddToSlot(Table& table, int number, int slot, Fixed x) {
  const unsigned low = static_cast<unsigned>(x), before = atomicAdd(&table.low[number][slot], low);
  const unsigned high = static_cast<unsigned>(x >> 32) + (before + low < before ? 1u : 0u);
  if (high != 0) atomicAdd(&table.high[number][slot], high);
}

__device__ __forceinline__ void ClearTable(Table& table, bool rows) {
  for (int slot = threadIdx.x; slot < kSlots; slot += kSpreadThreads) {
    if (rows) table.row[slot] = kNoRow;
    for (int k = 0; k < kTogether; ++k) table.low[k][slot] = table.high[k][slot] = 0;
  }
}

// Of the totals of numbers [first, first + count).
template <class Read>
__global__ void __launch_bounds__(kSpreadThreads) SpreadTiles(Read read, Spreading s, SpreadSpace space, const float* cotangent,
                                                              int64_t first, int64_t count) {
  Table& table = TileTable();
  const int64_t across = (s.width + kSpreadColumns - 1) / kSpreadColumns, down = (s.height + kSpreadRows - 1) / kSpreadRows;
  const int64_t image = blockIdx.x / (across * down), tile = blockIdx.x % (across * down);
  const int64_t row = tile / across * kSpreadRows + threadIdx.x / kSpreadColumns;
  const int64_t column = tile % across * kSpreadColumns + threadIdx.x % kSpreadColumns;
  const int64_t at = (image * s.height + row) * s.width + column;
  const int64_t start = (s.common ? 0 : image) * s.rows * s.channels;
  if (start >= first + count || start + s.rows * s.channels <= first) return;
  const bool is_read = row < s.height && column < s.width && read.IsRead(at);
  if (threadIdx.x == 0) table.any = 0;
  __syncthreads();
  if (is_read) table.any = 1;
  __syncthreads();
  if (!table.any) return;
  const int scale = ScaleOf(space.exponents[s.common ? 0 : image], 0);
  for (int side = 0; side < read.Sides(); ++side) {
    int64_t rows[4];
    float weight[4];
    int slot[4] = {-1, -1, -1, -1};
    if (is_read) read.TapsOf(at, side, rows, weight);
    for (int64_t channel = 0; channel < s.channels; channel += kTogether) {
      __syncthreads();
      ClearTable(table, channel == 0);
      __syncthreads();
      for (int i = 0; is_read && i < Read::kTaps; ++i) {
        if (rows[i] < 0) continue;
        if (channel == 0) slot[i] = SlotOf(table, static_cast<unsigned>(rows[i]));
        for (int k = 0; k < kTogether && channel + k < s.channels; ++k) {
          const double x = static_cast<double>(cotangent[at * s.channels + channel + k]) * weight[i];
          if (x - x == 0.0) {
            if (x != 0.0) AddToSlot(table, k, slot[i], ToFixed(x, scale));
            continue;
          }
          const int64_t number = start + rows[i] * s.channels + channel + k - first;
          if (number >= 0 && number < count) atomicMax(reinterpret_cast<long long*>(space.totals + number), kSpoilt);
        }
      }
      __syncthreads();
      for (int i = threadIdx.x; i < kSlots; i += kSpreadThreads) {
        if (table.row[i] == kNoRow) continue;
        for (int k = 0; k < kTogether && channel + k < s.channels; ++k) {
          const int64_t number = start + static_cast<int64_t>(table.row[i]) * s.channels + channel + k - first;
          const Fixed x = static_cast<Fixed>(table.high[k][i]) << 32 | table.low[k][i];
          if (x != 0 && number >= 0 && number < count) atomicAdd(space.totals + number, x);
        }
      }
    }
  }
}

// Totals as floats; cleared for the next pass.
__global__ void __launch_bounds__(256) FinishSpread(Spreading s, SpreadSpace space, int64_t first, int64_t count, bool clears, float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= count) return;
  const Fixed x = space.totals[i];
  const float none = static_cast<float>(FromBits64(0x7ff8000000000000ll));
  const int scale = ScaleOf(space.exponents[(first + i) / (s.rows * s.channels)], 0);
  out[first + i] = static_cast<long long>(x) >= kSpoilt / 2 ? none : FromFixed(x, scale);
  if (clears) space.totals[i] = 0;
}

// `out` [images or 1, rows, channels]. Where these are more numbers than totals, pixels are gone through again for the rest.
template <class Read>
void Spread(const Read& read, const Spreading& s, const float* cotangent, void* scratch, float* out, cudaStream_t stream) {
  const int64_t numbers = NumbersOf(s);
  if (numbers == 0) return;
  SpreadSpace space;
  LayOutSpread(scratch, s, &space);
  const int64_t totals = numbers < kMostTotals ? numbers : kMostTotals;
  const int64_t tiles = (s.width + kSpreadColumns - 1) / kSpreadColumns * ((s.height + kSpreadRows - 1) / kSpreadRows) * s.images;
  Launch(SumMagnitudes<Read>, static_cast<unsigned>(ArraysOf(s) * space.partials_each), 256, stream, read, s, space, cotangent, totals);
  Launch(FindScales, static_cast<unsigned>(ArraysOf(s)), 256, stream, space);
  for (int64_t first = 0; first < numbers; first += totals) {
    const int64_t count = numbers - first < totals ? numbers - first : totals;
    if (tiles > 0) Launch(SpreadTiles<Read>, static_cast<unsigned>(tiles), kSpreadThreads, stream, read, s, space, cotangent, first, count);
    Launch(FinishSpread, BlocksFor(count, 256), 256, stream, s, space, first, count, first + count < numbers, out);
  }
}

}  // namespace
}  // namespace ava
