// Tiles to be marched, as thread blocks draw them that stay on their multiprocessors.
#pragma once

#include <climits>

#include "../common/device.cuh"

namespace ava {
namespace raymarch {
namespace {

// Tiles come in the order of their blocks, the longest first. A thread block draws them in chunks, side by side, so that its warps share
// what the L1 holds.
constexpr int kChunk = 8;
constexpr int kChunksHeld = 4;

// A thread block's warps take numbers, each when it is free: what a warp held for later would be marched late. The numbers of a thread
// block's n-th chunk start at n kChunk; which chunk of all that is, is drawn by who takes the middle number of the chunk before, so that no
// other warp waits for the device's memory.
struct Queue {
  int numbers;
  int drawn[kChunksHeld];  // n, where slot n % kChunksHeld holds the n-th chunk
  int first[kChunksHeld];  // its first tile
  int read[kChunksHeld];   // numbers of it that have been turned into tiles
};

// By a comparison with what is never there.
__device__ __forceinline__ int AtomicRead(int* at) { return atomicCAS(at, INT_MIN, INT_MIN); }

// By one thread, before the others see the queue.
__device__ __forceinline__ void StartQueue(Queue* queue) {
  queue->numbers = 0;
  for (int i = 0; i < kChunksHeld; ++i) queue->drawn[i] = i - kChunksHeld, queue->read[i] = kChunk;
  queue->drawn[0] = queue->read[0] = 0;
  queue->first[0] = static_cast<int>(blockIdx.x) * kChunk;
}

// The next tile for a warp, by one of its lanes. Those past the last do not end.
__device__ __forceinline__ int DrawTile(int* chunks, Queue* queue) {
  const int number = atomicAdd(&queue->numbers, 1), nth = number / kChunk, slot = nth % kChunksHeld;
  if (number % kChunk == kChunk / 2) {
    const int next = (nth + 1) % kChunksHeld, chunk = static_cast<int>(gridDim.x) + atomicAdd(chunks, 1);
    // All have read what the slot holds: this chunk's number less kChunksHeld.
    while (AtomicRead(&queue->drawn[next]) != nth + 1 - kChunksHeld || AtomicRead(&queue->read[next]) != kChunk) {
    }
    atomicExch(&queue->read[next], 0);
    atomicExch(&queue->first[next], chunk * kChunk);
    __threadfence_block();
    atomicExch(&queue->drawn[next], nth + 1);
  }
  while (AtomicRead(&queue->drawn[slot]) != nth) {
  }
  __threadfence_block();
  const int tile = AtomicRead(&queue->first[slot]) + number % kChunk;
  __threadfence_block();
  atomicAdd(&queue->read[slot], 1);
  return tile;
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
