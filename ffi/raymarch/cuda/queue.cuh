// What a thread block's warps take tiles from.
#pragma once

#include "device.cuh"

namespace ava {
namespace raymarch {
namespace {

// A chunk being taken: its ticket times kTicketUnit, plus how many of its tiles are gone.
constexpr unsigned kTicketUnit = 8;
constexpr unsigned kNoTicket = kChunkTiles;  // a chunk of which no tile is left
static_assert(kChunkTiles < kTicketUnit);

// Takes a tile of the thread block's chunk; of a new one, by the next ticket, where none is left. Returns its ticket times kTicketUnit,
// plus which of the chunk's tiles it is; from ticket `all` on there are none. `kept` is the warp's own: a chunk that it drew when another
// warp had just put in one. By one lane.
__device__ __forceinline__ unsigned TakeTile(unsigned* queue, int* tickets, unsigned all, unsigned* kept) {
  for (unsigned seen = atomicCAS(queue, kNoTicket, kNoTicket);;) {
    unsigned next = seen;
    if (seen % kTicketUnit == kChunkTiles || (*kept != kNoTicket && seen / kTicketUnit >= all)) {
      if (*kept == kNoTicket) *kept = static_cast<unsigned>(atomicAdd(tickets, 1)) * kTicketUnit;
      next = *kept;
    }
    const unsigned was = atomicCAS(queue, seen, next + 1);
    if (was != seen) {
      seen = was;
      continue;
    }
    if (next != seen) *kept = kNoTicket;
    return next;
  }
}

}  // namespace
}  // namespace raymarch
}  // namespace ava
