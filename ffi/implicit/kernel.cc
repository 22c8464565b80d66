// The inner loops of implicit functions, compiled once per instruction set: AVA_KERNELS names the table of this one.
//
// Nothing here may have external linkage but that table, nor may anything of the standard library be instantiated: the linker
// could hand such a function to a processor that cannot run it.
#include "kernel.h"

#include <cstring>

namespace ava {
namespace implicit {
namespace {

#define AVA_ALWAYS static inline __attribute__((always_inline))

// Compilers split vectors that are wider than the processor's, but by way of memory: 10 times slower with 16 lanes on AVX2.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kOutputs = 8;  // sums that are under way: as many as hide a multiplication's latency in 16 or 32 registers

typedef float Wide __attribute__((vector_size(4 * kLanes)));
typedef int32_t WideInts __attribute__((vector_size(4 * kLanes)));

AVA_ALWAYS Wide Load(const float* p) {
  Wide v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

AVA_ALWAYS Wide Splat(float x) { return x - Wide{}; }

AVA_ALWAYS Wide Positive(Wide x) { return x > 0.0f ? x : Wide{}; }

// exp(x) for x <= 0, to 2 units in the last place; 1e-35 below -80.
AVA_ALWAYS Wide Exp(Wide x) {
  x = x > -80.0f ? x : Splat(-80.0f);
  const WideInts k = __builtin_convertvector(x * 1.44269504f - 0.5f, WideInts);  // towards zero: the nearest integer
  const Wide n = __builtin_convertvector(k, Wide);
  const Wide r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  Wide p = r * 1.3888889e-3f + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const WideInts bits = (k + 127) << 23;
  Wide power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

AVA_ALWAYS bool Any(WideInts mask) {
  int32_t any = 0;
  for (int i = 0; i < kLanes; ++i) any |= mask[i];
  return any != 0;
}

// What the decoder multiplies the Gaussian with.
AVA_ALWAYS Wide Decode(const Field& f, int64_t e, const Wide l[3]) {
  const float *head = f.head + e * kHead, *first = f.first + e * 4 * kWidth, *second = f.second + e * 2 * kWidth;
  const float* dense = static_cast<const float*>(f.dense) + e * kWidth * kWidth;
  Wide hidden[kWidth];
  for (int k = 0; k < kWidth; ++k) {
    const float* a = first + 4 * k;
    hidden[k] = Positive(l[0] * a[0] + (l[1] * a[1] + (l[2] * a[2] + a[3])));
  }
  Wide sum = l[0] * head[kAffine] + (l[1] * head[kAffine + 1] + (l[2] * head[kAffine + 2] + head[kOne]));
  for (int n = 0; n < kWidth; n += kOutputs) {
    Wide out[kOutputs];
    for (int i = 0; i < kOutputs; ++i) out[i] = Splat(second[2 * (n + i)]);
    for (int k = 0; k < kWidth; ++k) {
      for (int i = 0; i < kOutputs; ++i) out[i] += hidden[k] * dense[k * kWidth + n + i];
    }
    for (int i = 0; i < kOutputs; ++i) sum += Positive(out[i]) * second[2 * (n + i) + 1];
  }
  return sum;
}

void Evaluate(const Field& f, const int32_t* list, int32_t count, const float* points, int64_t vectors, float* out) {
  for (int64_t at = 0; at < vectors * kPoints; at += kLanes) {
    const float* p = points + 3 * kPoints * (at / kPoints) + at % kPoints;
    Wide total = {};
    for (int32_t i = 0; i < count; ++i) {
      const int64_t e = list[i];
      const float *head = f.head + e * kHead, *m = head + kMatrix;
      const Wide d[3] = {Load(p) - head[0], Load(p + kPoints) - head[1], Load(p + 2 * kPoints) - head[2]};
      Wide l[3];
      for (int r = 0; r < 3; ++r) l[r] = d[0] * m[3 * r] + (d[1] * m[3 * r + 1] + d[2] * m[3 * r + 2]);
      const Wide q = l[0] * l[0] + (l[1] * l[1] + l[2] * l[2]);
      const WideInts counts = ~(q > head[kLimit]);  // so NaN counts
      if (!Any(counts)) continue;
      Wide value = Exp(q * -0.5f) * head[kConstant];
      if (f.first != nullptr) value *= Decode(f, e, l);
      value = q == q ? value : q;
      total += counts ? value : Wide{};
    }
    std::memcpy(out + at, &total, sizeof total);
  }
}

}  // namespace

extern const Kernels AVA_KERNELS = {Evaluate};

}  // namespace implicit
}  // namespace ava
