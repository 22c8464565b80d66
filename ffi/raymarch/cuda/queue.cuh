// Tiles to be marched, as thread blocks draw them that stay on their multiprocessors.
#pragma once

#include <climits>

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

constexpr int kDrawn = 8;  // tiles at once: side by side, so that their warps share what the L1 holds

// What a thread block has drawn and not marched yet. One warp at a time looks at it.
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
    tile = atomicAdd(&queue->next, 1);
    if (atomicAdd(&queue->left, -1) == 0) {
      const int chunk = atomicAdd(scratch.marched + 1, 1), chunks = scratch.marched[0] * (kBlockTileCount / kDrawn);
      const int block = scratch.marched[0] + (chunk - chunks);  // of those with nothing to march, drawn as a whole
      const bool marches = chunk < chunks, none = !marches && block >= blocks;
      tile = none ? INT_MIN : marches ? chunk * kDrawn : block * kBlockTileCount;
      atomicExch(&queue->next, tile + 1);
      atomicExch(&queue->left, none ? INT_MAX : marches ? kDrawn - 1 : kBlockTileCount - 1);
    }
    __threadfence_block();
    atomicExch(&queue->taken, 0);
  }
  return __shfl_sync(kAllLanes, tile, 0);
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
