// Tiles to be marched, as thread blocks draw them that stay on their multiprocessors.
#pragma once

#include <climits>

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kDrawn = 8;  // tiles at once: side by side, so that their warps share what the L1 holds

// What a thread block has drawn and not marched yet.
struct Queue {
  int taken, next, left;
};

// The next tile for a warp, in the order of the blocks; the longest are first, and each is drawn when its warp is free: what a warp held for
// later would be marched late. Negative where there is none.
__device__ __forceinline__ int DrawTile(const Scratch& scratch, int blocks, int lane, Queue* queue) {
  int tile = 0;
  if (lane == 0) {
    while (atomicCAS(&queue->taken, 0, 1) != 0) {
    }
    __threadfence_block();
    volatile int *next = &queue->next, *left = &queue->left;
    if (*left == 0) {
      const int chunk = atomicAdd(scratch.marched + 1, 1), chunks = scratch.marched[0] * (kBlockTileCount / kDrawn);
      const int block = scratch.marched[0] + (chunk - chunks);
      *next = chunk < chunks ? chunk * kDrawn : block < blocks ? block * kBlockTileCount : -1;
      *left = chunk < chunks ? kDrawn : block < blocks ? kBlockTileCount : INT32_MAX;
    }
    tile = *next;
    if (tile >= 0) *next = tile + 1, *left = *left - 1;
    __threadfence_block();
    atomicExch(&queue->taken, 0);
  }
  return __shfl_sync(kAllLanes, tile, 0);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
