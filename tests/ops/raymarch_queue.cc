// The queue of tiles that the forward pass on CUDA draws from, with threads for warps: raymarch_fibers_test.py runs this, since fibers do not
// interrupt each other.
//
//   raymarch_queue ROUNDS
//
// Each round has thread blocks of warps that draw until there is nothing left, with pauses anywhere. Each tile must be drawn once; a round
// that does not end is for the caller to notice.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "fibers/cuda_runtime.h"

thread_local uint32_t random_state = 1;

void Pause() {
  random_state = random_state * 1664525u + 1013904223u;
  if (random_state >> 28 == 0) std::this_thread::yield();
}

// Other threads go on before any step of the queue.
#define atomicAdd(at, x) (Pause(), atomicAdd(at, x))
#define atomicExch(at, x) (Pause(), atomicExch(at, x))
#define atomicCAS(at, expected, x) (Pause(), atomicCAS(at, expected, x))

#include "../../ffi/raymarch/cuda/forward/queue.cuh"

namespace {

using ava::raymarch::DrawTile;
using ava::raymarch::kChunk;
using ava::raymarch::Queue;
using ava::raymarch::StartQueue;

// Tiles that were not drawn once.
int Round(uint32_t seed) {
  std::mt19937 random(seed);
  const int blocks = 1 + static_cast<int>(random() % 3), warps = 1 + static_cast<int>(random() % 24);
  const int tiles = kChunk * (blocks + static_cast<int>(random() % 400));
  fibers::grid = {static_cast<unsigned>(blocks)};
  const auto queues = std::make_unique<Queue[]>(static_cast<size_t>(blocks));
  for (int block = 0; block < blocks; ++block) {
    fibers::block = {static_cast<unsigned>(block)};
    StartQueue(&queues[block]);
  }
  int chunks = 0;
  std::vector<std::atomic<int>> drawn(static_cast<size_t>(tiles));
  std::vector<std::thread> threads;
  for (int i = 0; i < blocks * warps; ++i) {
    threads.emplace_back([&, i] {
      random_state = seed * 4096u + static_cast<uint32_t>(i);
      for (int tile = 0; (tile = DrawTile(&chunks, &queues[i % blocks])) < tiles;) {
        ++drawn[static_cast<size_t>(tile)];
        for (int pause = static_cast<int>(random_state >> 26); pause > 0; --pause) Pause();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int wrong = 0;
  for (const auto& number : drawn) wrong += number != 1;
  return wrong;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc == 2 ? std::atoi(argv[1]) : 0;
  if (rounds <= 0) {
    std::fprintf(stderr, "usage: raymarch_queue ROUNDS\n");
    return 2;
  }
  int wrong = 0;
  for (int round = 0; round < rounds; ++round) {
    const int here = Round(static_cast<uint32_t>(round) + 1);
    if (here != 0) std::printf("round %d: %d tiles were not drawn once\n", round + 1, here);
    wrong += here;
  }
  std::printf("%d rounds, %d tiles not drawn once\n", rounds, wrong);
  return wrong == 0 ? 0 : 1;
}
