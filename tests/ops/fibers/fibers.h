// Thread blocks on one CPU thread: each of a block's threads is a fiber, and runs on until it meets the others of its warp, or of its
// block. A kernel may not count on who is ahead between two meetings; `Schedule` says who is.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

struct alignas(16) float4 {
  float x, y, z, w;
};

namespace fibers {

constexpr unsigned kLanes = 32;

struct Index {
  unsigned x;
};

// Which lane of a warp, which warp of a thread block, which thread block goes first, wherever there is a choice; and with what shared
// memory is filled.
struct Schedule {
  enum Order { kAscending, kDescending, kShuffled } order = kAscending;
  uint32_t seed = 1;  // of a shuffle
};

extern Index thread, block, grid;
extern float4* shared_memory;

void SetSchedule(const Schedule& schedule);

// Runs a kernel to its end. `kernel` is called by each thread.
void Launch(const std::function<void()>& kernel, unsigned blocks, unsigned threads, size_t shared_bytes, void* stream);

// Whether a launch was refused since this was called last.
int LastError();

// What all lanes of the warp brought; `orders`: memory, too. Aborts if they are at different lines, or not all take part.
const uint64_t* Meet(unsigned lanes, uint64_t value, int line, bool orders = false);
void MeetBlock();

// The copy is done when the thread calls CopyNow, and not before.
void CopyLater(float4* to, const float4* from);
void CopyNow();

inline unsigned Lane() { return thread.x % kLanes; }

// 0 where x is subnormal.
inline float Flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }

}  // namespace fibers
