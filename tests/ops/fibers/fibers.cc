#include "cuda_runtime.h"

namespace fibers {

Index thread, block, grid;
char* shared_memory;
int64_t few_primitives;

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr unsigned char kPoison = 0x7f;  // of shared memory: large numbers, and indices out of range

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  unsigned index;
  bool done;
};

std::vector<Fiber> all;
std::vector<Warp> warps;
Fiber* now;
ucontext_t scheduler;
unsigned arrived, meetings, living;  // of the thread block
uint64_t events;                     // meetings reached, fibers ended
Order order_of_lanes;
const std::function<void()>* running;

void Yield() { swapcontext(&now->context, &scheduler); }

void Enter() {
  (*running)();
  now->done = true;
  --living;
  ++events;
  Yield();
}

void Start(unsigned index) {
  Fiber& fiber = all[index];
  fiber.index = index;
  fiber.done = false;
  fiber.stack.resize(kStackBytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, Enter, 0);
}

unsigned Choose(unsigned i, unsigned threads, unsigned round) {
  if (order_of_lanes == Order::kAscending) return i;
  if (order_of_lanes == Order::kDescending) return threads - 1 - i;
  return (i * 13 + round * 7) % threads;  // thread blocks are whole warps
}

void RunBlock(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) Start(i);
  for (unsigned round = 0; living > 0; ++round) {
    const uint64_t before = events;
    for (unsigned i = 0; i < threads; ++i) {
      now = &all[Choose(i, threads, round)];
      if (now->done) continue;
      thread.x = now->index;
      swapcontext(&scheduler, &now->context);
    }
    if (events != before) continue;
    std::fprintf(stderr, "a meeting waits for lanes that have ended, or for a meeting of others\n");
    std::abort();
  }
}

}  // namespace

void SetOrder(Order order) { order_of_lanes = order; }

void Launch(const std::function<void()>& kernel, unsigned blocks, unsigned threads, size_t shared_bytes, cudaStream_t) {
  running = &kernel;
  grid.x = blocks;
  if (all.size() < threads) all.resize(threads);
  std::vector<float4> memory(shared_bytes / sizeof(float4) + 1);
  shared_memory = reinterpret_cast<char*>(memory.data());
  for (block.x = 0; block.x < blocks; ++block.x) {
    std::memset(memory.data(), kPoison, memory.size() * sizeof(float4));
    warps.assign(threads / kLanes, Warp());
    arrived = 0;
    living = threads;
    RunBlock(threads);
  }
}

const uint64_t* Meet(uint64_t value, int line) {
  Warp& warp = warps[thread.x / kLanes];
  const int meeting = warp.meetings, side = meeting % 2;
  warp.values[side][Lane()] = value;
  warp.lines[side][Lane()] = line;
  ++events;
  if (++warp.arrived < kLanes) {
    while (warp.meetings == meeting) Yield();
    return warp.values[side];
  }
  for (const int other : warp.lines[side]) {
    if (other == line) continue;
    std::fprintf(stderr, "lanes of a warp meet at lines %d and %d\n", line, other);
    std::abort();
  }
  warp.arrived = 0;
  ++warp.meetings;
  return warp.values[side];
}

void MeetBlock() {
  const unsigned meeting = meetings;
  ++events;
  if (++arrived < living) {
    while (meetings == meeting) Yield();
    return;
  }
  arrived = 0;
  ++meetings;
}

}  // namespace fibers
