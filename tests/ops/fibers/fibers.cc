#include "fibers.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FIBERS_RACES)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_write16(void* to);
#endif

// Shared memory that kernels declare with its size.
extern char __start_fibers_shared[] __attribute__((weak));
extern char __stop_fibers_shared[] __attribute__((weak));

namespace fibers {

Index thread, block, grid;
float4* shared_memory;

namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr size_t kMostShared = 227 << 10;

enum State { kReady, kAtWarp, kAtBlock, kDone };

// Runs one thread after the other.
struct Fiber {
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  ucontext_t first;
  jmp_buf later;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* racer = nullptr;       // ThreadSanitizer's
  bool started = false;
  State state;
  std::vector<std::pair<float4*, const float4*>> copies;
};

struct Warp {
  uint64_t values[2][kLanes];  // that the lanes brought to this meeting, and to the one before
  int lines[kLanes];           // of the source, where they meet
  unsigned arrived, meetings;
  char order[2];  // of memory, for ThreadSanitizer
};

std::vector<std::unique_ptr<Fiber>> all;
std::vector<Warp> warps;
Fiber* now;
jmp_buf scheduler;
void* scheduler_fake_stack;
const void* scheduler_stack;
size_t scheduler_stack_bytes;
unsigned arrived, living, threads, meetings;  // of the thread block
char block_order[2], begin_order, end_order;  // of memory, for ThreadSanitizer
Schedule schedule;
std::mt19937 shuffle;
const std::function<void()>* running;
int error;

[[noreturn]] void Fail(const char* what, int a = 0, int b = 0) {
  std::fprintf(stderr, what, a, b);
  std::fprintf(stderr, " (thread %u of block %u)\n", thread.x, block.x);
  std::abort();
}

// What AddressSanitizer wants to know when the stack changes.
void BeforeSwitch([[maybe_unused]] void** fake, [[maybe_unused]] const void* stack, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, stack, bytes);
#endif
}

void AfterSwitch([[maybe_unused]] void* fake, [[maybe_unused]] bool to_fiber) {
#if defined(__SANITIZE_ADDRESS__)
  if (to_fiber) {
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
  } else {
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
  }
#endif
}

#if defined(FIBERS_RACES)
// ThreadSanitizer takes fibers for threads, and what they write as ordered by barriers alone; its longjmp knows no fibers.
ucontext_t scheduler_context;
void* scheduler_racer;

void Release(char* order) { __tsan_release(order); }
void Acquire(char* order) { __tsan_acquire(order); }
void Written(float4* to) { __tsan_write16(to); }

void Leave(State state) {
  now->state = state;
  __tsan_switch_to_fiber(scheduler_racer, __tsan_switch_to_fiber_no_sync);
  swapcontext(&now->first, &scheduler_context);
}

void Enter(unsigned index) {
  now = all[index].get();
  thread.x = index;
  if (now->racer == nullptr) now->racer = __tsan_create_fiber(0);
  scheduler_racer = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(now->racer, __tsan_switch_to_fiber_no_sync);
  swapcontext(&scheduler_context, &now->first);
}
#else
void Release(char*) {}
void Acquire(char*) {}
void Written(float4*) {}

// Back to the scheduler; returns when it takes this fiber again.
__attribute__((noinline)) void Leave(State state) {
  now->state = state;
  BeforeSwitch(&now->fake_stack, scheduler_stack, scheduler_stack_bytes);
  if (_setjmp(now->later) == 0) _longjmp(scheduler, 1);
  AfterSwitch(now->fake_stack, true);
}

// Lets a fiber run until it leaves.
__attribute__((noinline)) void Enter(unsigned index) {
  Fiber* fiber = all[index].get();
  now = fiber;
  thread.x = index;
  BeforeSwitch(&scheduler_fake_stack, fiber->stack.get(), kStackBytes);
  if (_setjmp(scheduler) == 0) {
    if (now->started) _longjmp(now->later, 1);
    now->started = true;
    setcontext(&now->first);
  }
  AfterSwitch(scheduler_fake_stack, false);
}
#endif

void ReleaseBlock() {
  arrived = 0;
  ++meetings;
  for (unsigned i = 0; i < threads; ++i) {
    if (all[i]->state == kAtBlock) all[i]->state = kReady;
  }
}

void Begin() {
  AfterSwitch(nullptr, true);
  for (;;) {
    Acquire(&begin_order);
    (*running)();
    CopyNow();
    Release(&end_order);
    if (arrived == --living && arrived > 0) ReleaseBlock();
    Leave(kDone);
  }
}

void MakeFiber() {
  Fiber& fiber = *all.emplace_back(std::make_unique<Fiber>());
  getcontext(&fiber.first);
  fiber.first.uc_stack.ss_sp = fiber.stack.get();
  fiber.first.uc_stack.ss_size = kStackBytes;
  fiber.first.uc_link = nullptr;
  makecontext(&fiber.first, Begin, 0);
}

void Arrange(std::vector<unsigned>* order) {
  std::iota(order->begin(), order->end(), 0u);
  if (schedule.order == Schedule::kDescending) std::reverse(order->begin(), order->end());
  if (schedule.order == Schedule::kShuffled) std::shuffle(order->begin(), order->end(), shuffle);
}

// Lets the lanes of a warp that can go on do so, to their next meeting; false if none can.
bool RunWarp(unsigned warp) {
  static std::vector<unsigned> lanes(kLanes);
  Arrange(&lanes);
  bool any = false;
  for (const unsigned lane : lanes) {
    const unsigned index = warp * kLanes + lane;
    if (all[index]->state != kReady) continue;
    any = true;
    Enter(index);
  }
  return any;
}

// A warp goes on as far as it can before others do, in a shuffle to its next meeting.
void RunBlock() {
  std::vector<unsigned> order(warps.size());
  while (living > 0) {
    Arrange(&order);
    bool any = false;
    for (const unsigned warp : order) {
      while (RunWarp(warp)) {
        any = true;
        if (schedule.order == Schedule::kShuffled && shuffle() % 2 == 0) break;
      }
    }
    if (!any) Fail("a meeting waits for threads that have ended, or meet others");
  }
}

void Fill(void* memory, size_t bytes) {
  const int byte = schedule.order == Schedule::kAscending ? 0x7f : schedule.order == Schedule::kDescending ? 0xff : shuffle() & 0xff;
  if (bytes > 0) std::memset(memory, byte, bytes);
}

}  // namespace

void SetSchedule(const Schedule& to) {
  schedule = to;
  shuffle.seed(to.seed);
}

int LastError() { return std::exchange(error, 0); }

void Launch(const std::function<void()>& kernel, unsigned blocks, unsigned block_threads, size_t shared_bytes, void*) {
  threads = block_threads;
  if (blocks == 0 || threads == 0 || threads > kMostThreads || threads % kLanes != 0 || shared_bytes > kMostShared) {
    error = 1;
    return;
  }
  running = &kernel;
  while (all.size() < threads) MakeFiber();
  grid.x = blocks;
  std::vector<unsigned> order(blocks);
  Arrange(&order);
  std::vector<float4> memory(shared_bytes / sizeof(float4));
  shared_memory = memory.data();
  for (const unsigned b : order) {
    block.x = b;
    Fill(memory.data(), memory.size() * sizeof(float4));
    if (__start_fibers_shared != nullptr) Fill(__start_fibers_shared, __stop_fibers_shared - __start_fibers_shared);
    warps.assign(threads / kLanes, Warp());
    arrived = 0;
    living = threads;
    for (unsigned i = 0; i < threads; ++i) all[i]->state = kReady;
    Release(&begin_order);
    RunBlock();
    Acquire(&end_order);
  }
}

const uint64_t* Meet(unsigned lanes, uint64_t value, int line, bool orders) {
  if (lanes != 0xffffffffu) Fail("a meeting of some lanes of a warp, at line %d", line);
  Warp& warp = warps[thread.x / kLanes];
  const unsigned lane = Lane(), side = warp.meetings % 2;
  warp.values[side][lane] = value;
  warp.lines[lane] = line;
  if (orders) Release(&warp.order[side]);
  if (++warp.arrived == kLanes) {
    for (const int other : warp.lines) {
      if (other != line) Fail("lanes of a warp meet at lines %d and %d", line, other);
    }
    warp.arrived = 0;
    ++warp.meetings;
    for (unsigned i = 0; i < kLanes; ++i) all[thread.x / kLanes * kLanes + i]->state = kReady;
  }
  Leave(warp.arrived == 0 ? kReady : kAtWarp);
  if (orders) Acquire(&warp.order[side]);
  return warp.values[side];
}

void MeetBlock() {
  char* order = &block_order[meetings % 2];
  Release(order);
  const bool last = ++arrived == living;
  if (last) ReleaseBlock();
  Leave(last ? kReady : kAtBlock);
  Acquire(order);
}

void CopyLater(float4* to, const float4* from) { now->copies.emplace_back(to, from); }

void CopyNow() {
  for (const auto& [to, from] : now->copies) {
    *to = *from;
    Written(to);
  }
  now->copies.clear();
}

}  // namespace fibers
