// What cpu.cc schedules, pack.cc prepares and kernel.cc computes: kernel.cc is compiled once per instruction set, so only
// plain types pass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "params.h"

namespace ava {
namespace raymarch {

constexpr int kTileSide = 8;                          // pixels
constexpr int kTileRays = kTileSide * kTileSide;
constexpr int kBlockTiles = 4;                        // tiles along a block's side
constexpr int kBlockSide = kTileSide * kBlockTiles;   // pixels
constexpr int kTilesPerBlock = kBlockTiles * kBlockTiles;

// A sphere of origins and a cone of directions that hold a group of rays.
struct Cone {
  float apex[3], axis[3];
  float sine, cosine;  // of the half-angle
  float radius;        // of the sphere; negative: no ray to hold; infinite: touches everything
};

// Cones side by side, so that vectors of them are read: field i of cone j lies at first[i * stride + j]. Padded with cones that
// hold no ray to whole vectors.
struct ConeList {
  const float* first;
  int64_t stride;
};

constexpr int kConeFields = 9;  // as in Cone
static_assert(sizeof(Cone) == kConeFields * sizeof(float), "Cone is read as an array of its fields");

// 8 x 8 rays, one array per quantity. Sample n of a ray lies at start + n step.
struct Tile {
  float start[3][kTileRays];
  float step[3][kTileRays];
  float count[kTileRays];  // steps; 0 for a ray that is empty, not finite, or outside of the image
  // What the backward pass needs:
  float cotangent[4][kTileRays];  // of the colour; [3] is added to cotangent . colour to give that of a sample's alpha
  float saturation[kTileRays];    // how much of the saturating sample counted
  int32_t saturation_step[kTileRays];
  int32_t saturation_primitive[kTileRays];
};

struct Block {
  Cone cone;
  float tile_cones[kConeFields * kTilesPerBlock];  // a ConeList
  Tile tiles[kTilesPerBlock];
};

// Bounding spheres of one frame's primitives. A radius that is NaN marks one that holds no point; infinite, one unbounded.
struct Spheres {
  const float *x, *y, *z, *radius;
};

// One frame of a scene, and its rays in blocks of kBlockSide x kBlockSide pixels: [N, blocks_y, blocks_x].
struct Frame {
  const Scene* scene;
  int64_t index;
  int64_t blocks_y, blocks_x;
  Spheres spheres;
};

// The first pixel of a block.
struct BlockCorner {
  int64_t view, row, column;
};

BlockCorner CornerOfBlock(const Frame& frame, int64_t block);

// Index of a tile's ray in [F, N, H, W], or -1 outside of the image.
static inline int64_t RayIndex(const Frame& frame, const BlockCorner& corner, int tile, int ray) {
  const Shape& shape = frame.scene->shape;
  const int64_t row = corner.row + tile / kBlockTiles * kTileSide + ray / kTileSide;
  const int64_t column = corner.column + tile % kBlockTiles * kTileSide + ray % kTileSide;
  if (row >= shape.height || column >= shape.width) return -1;
  return ((frame.index * shape.views + corner.view) * shape.height + row) * shape.width + column;
}

// Writes a cone to entry `index` of a ConeList.
void StoreCone(const Cone& cone, int64_t index, int64_t stride, float* list);

// The rays of one block; `cotangent` may be null.
void PackBlock(const Frame& frame, int64_t block, const Cotangent* cotangent, Block* packed);

// Centre and radius of a primitive's bounding sphere.
void BoundPrimitive(const Scene& scene, int64_t frame, int64_t k, float sphere[4]);

// The functions of one instruction set.
struct Kernels {
  const char* name;
  // Scratch of one thread of the forward pass, bytes, for K primitives.
  size_t (*forward_scratch)(int64_t primitives);
  void (*forward)(const Frame&, int64_t block, const Block& rays, void* scratch, const Image& image);
  // Writes all of the gradient of primitive k: it depends on no other primitive's, nor on the order of the calls.
  void (*backward)(const Frame&, int64_t k, const Block* blocks, const ConeList& cones, const Gradient& gradient);
};

extern const Kernels kPortableKernels;
#if defined(AVA_X86)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace raymarch
}  // namespace ava
