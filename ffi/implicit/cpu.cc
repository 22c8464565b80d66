#include "cpu.h"

#include <algorithm>
#include <vector>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace implicit {
namespace {

constexpr int64_t kSide = 16;        // of a block of a grid; a row of it is a vector
constexpr int64_t kVectors = 64;     // of a block of scattered points
constexpr int64_t kBlockVectors = 256;  // at most

static_assert(kSide == kPoints && kSide * kSide <= kBlockVectors && kVectors <= kBlockVectors, "a block's buffers");

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

int64_t Parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

struct Block {
  std::vector<float> points, values;
  std::vector<int32_t> list;
  int64_t vectors = 0;
};

// Lists the elements that count in the block, and evaluates them.
void Run(const Field& f, Block* b) {
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    float low = INFINITY, high = -INFINITY;
    bool all = true;
    for (int64_t v = 0; v < b->vectors; ++v) {
      for (int64_t i = 0; i < kPoints; ++i) {
        const float x = b->points[(3 * v + axis) * kPoints + i];
        low = std::min(low, x), high = std::max(high, x), all = all && x == x;
      }
    }
    box.center[axis] = all ? 0.5f * low + 0.5f * high : NAN;  // NaN misses nothing
    box.half[axis] = std::max(high - box.center[axis], box.center[axis] - low);
  }
  b->list.clear();
  for (int64_t e = 0; e < f.elements; ++e) {
    if (!Misses(f.head + e * kHead, box)) b->list.push_back(static_cast<int32_t>(e));
  }
  Chosen().evaluate(f, b->list.data(), static_cast<int32_t>(b->list.size()), b->points.data(), b->vectors, b->values.data());
}

// Block `index` of a grid.
void RunGrid(const Field& f, const Places& p, int64_t index, Block* b, float* out) {
  const int64_t across = Parts(p.size_x, kSide), down = Parts(p.size_y, kSide);
  const int64_t x0 = index % across * kSide, y0 = index / across % down * kSide, z0 = index / across / down * kSide;
  const int64_t x_count = std::min(kSide, p.size_x - x0);
  const int64_t y_end = std::min(y0 + kSide, p.size_y), z_end = std::min(z0 + kSide, p.size_z);
  // A block of 16^3 points goes in slabs that fit the buffers.
  for (int64_t z = z0; z < z_end; ++z) {
    b->vectors = 0;
    for (int64_t y = y0; y < y_end; ++y) {
      float* to = b->points.data() + 3 * kPoints * b->vectors++;
      for (int64_t i = 0; i < kPoints; ++i) {
        to[i] = p.x[x0 + std::min(i, x_count - 1)], to[kPoints + i] = p.y[y], to[2 * kPoints + i] = p.z[z];
      }
    }
    Run(f, b);
    for (int64_t y = y0; y < y_end; ++y) {
      const float* from = b->values.data() + kPoints * (y - y0);
      std::copy(from, from + x_count, out + (z * p.size_y + y) * p.size_x + x0);
    }
  }
}

void RunPoints(const Field& f, const Places& p, int64_t index, Block* b, float* out) {
  const int64_t from = index * kVectors * kPoints, count = std::min(kVectors * kPoints, p.count - from);
  b->vectors = Parts(count, kPoints);
  for (int64_t i = 0; i < b->vectors * kPoints; ++i) {
    const float* point = p.points + 3 * (from + std::min(i, count - 1));
    float* to = b->points.data() + i / kPoints * 3 * kPoints + i % kPoints;
    for (int axis = 0; axis < 3; ++axis) to[axis * kPoints] = point[axis];
  }
  Run(f, b);
  std::copy(b->values.begin(), b->values.begin() + count, out + from);
}

}  // namespace

void Evaluate(const Field& f, const Places& p, float* out, const Pool& pool) {
  const bool grid = p.points == nullptr;
  const int64_t blocks = grid ? Parts(p.size_x, kSide) * Parts(p.size_y, kSide) * Parts(p.size_z, kSide) : Parts(p.count, kVectors * kPoints);
  std::vector<Block> buffers(pool.threads);
  for (Block& b : buffers) b.points.resize(3 * kPoints * kBlockVectors), b.values.resize(kPoints * kBlockVectors), b.list.reserve(f.elements);
  ParallelFor(pool, blocks, [&](int64_t index, int worker) {
    if (grid) {
      RunGrid(f, p, index, &buffers[worker], out);
    } else {
      RunPoints(f, p, index, &buffers[worker], out);
    }
  });
}

}  // namespace implicit
}  // namespace ava
