#include "cpu.h"

#include <memory>
#include <vector>

#include "../common/instruction_set.h"
#include "kernel.h"

namespace ava {
namespace raymarch {
namespace {

// Primitives of a chunk of the backward pass: enough to make a chunk worth taking, few enough to share the load.
int64_t ChunkSize(int64_t primitives, int64_t threads) {
  const int64_t fair = primitives / (8 * threads);
  return fair < 1 ? 1 : fair > 16 ? 16 : fair;
}

const Kernels& Chosen() {
  static const Kernels& kernels = AVA_BEST_KERNELS;
  return kernels;
}

// Bounding spheres of a frame's primitives, padded to whole vectors.
class SphereList {
 public:
  SphereList(const Scene& scene, int64_t frame, const Pool& pool) {
    const int64_t count = scene.shape.primitives;
    for (std::vector<float>& axis : axes_) axis.resize((count + 63) / 64 * 64);
    ParallelFor(pool, (count + 1023) / 1024, [&](int64_t chunk, int) {
      const int64_t end = chunk * 1024 + 1024 < count ? chunk * 1024 + 1024 : count;
      for (int64_t k = chunk * 1024; k < end; ++k) {
        float sphere[4];
        BoundPrimitive(scene, frame, k, sphere);
        for (int i = 0; i < 4; ++i) axes_[i][k] = sphere[i];
      }
    });
  }
  Spheres view() const { return {axes_[0].data(), axes_[1].data(), axes_[2].data(), axes_[3].data()}; }

 private:
  std::vector<float> axes_[4];
};

Frame MakeFrame(const Scene& scene, int64_t index, const SphereList& spheres) {
  Frame frame;
  frame.scene = &scene;
  frame.index = index;
  frame.blocks_y = (scene.shape.height + kBlockSide - 1) / kBlockSide;
  frame.blocks_x = (scene.shape.width + kBlockSide - 1) / kBlockSide;
  frame.spheres = spheres.view();
  return frame;
}

struct Worker {
  std::unique_ptr<Block> rays;
  std::unique_ptr<char[]> scratch;
};

}  // namespace

const char* InstructionSetName() { return Chosen().name; }

void Forward(const Scene& scene, const Image& image, const Pool& pool) {
  const Kernels& kernels = Chosen();
  std::vector<Worker> workers(pool.threads);
  for (int64_t f = 0; f < scene.shape.frames; ++f) {
    const SphereList spheres(scene, f, pool);
    const Frame frame = MakeFrame(scene, f, spheres);
    ParallelFor(pool, scene.shape.views * frame.blocks_y * frame.blocks_x, [&](int64_t block, int worker) {
      Worker& own = workers[worker];
      if (own.rays == nullptr) {
        own.rays.reset(new Block);
        own.scratch.reset(new char[kernels.forward_scratch(scene.shape.primitives)]);
      }
      PackBlock(frame, block, nullptr, own.rays.get());
      kernels.forward(frame, block, *own.rays, own.scratch.get(), image);
    });
  }
}

void Backward(const Scene& scene, const Cotangent& cotangent, const Gradient& gradient, const Pool& pool) {
  const Kernels& kernels = Chosen();
  std::unique_ptr<Block[]> blocks;
  std::vector<float> cones;
  for (int64_t f = 0; f < scene.shape.frames; ++f) {
    const SphereList spheres(scene, f, pool);
    const Frame frame = MakeFrame(scene, f, spheres);
    const int64_t count = scene.shape.views * frame.blocks_y * frame.blocks_x;
    const int64_t padded = (count + 63) / 64 * 64;
    if (blocks == nullptr) blocks.reset(new Block[count]);
    cones.assign(kConeFields * padded, -1.0f);
    ParallelFor(pool, count, [&](int64_t block, int) {
      PackBlock(frame, block, &cotangent, &blocks[block]);
      StoreCone(blocks[block].cone, block, padded, cones.data());
    });
    const int64_t primitives = scene.shape.primitives, chunk_size = ChunkSize(primitives, pool.threads);
    ParallelFor(pool, (primitives + chunk_size - 1) / chunk_size, [&](int64_t chunk, int) {
      const int64_t end = (chunk + 1) * chunk_size < primitives ? (chunk + 1) * chunk_size : primitives;
      for (int64_t k = chunk * chunk_size; k < end; ++k) {
        kernels.backward(frame, k, blocks.get(), {cones.data(), padded}, gradient);
      }
    });
  }
}

}  // namespace raymarch
}  // namespace ava
