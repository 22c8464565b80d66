#include "handler.h"

#include "../common/guarded.h"
#include "cpu.h"
#include "scene_buffers.h"

namespace ffi = xla::ffi;

namespace ava {
namespace raymarch {
namespace {

ffi::Error ForwardImpl(ffi::ThreadPool threads, Floats origin, Floats direction, Floats bounds, Floats position,
                       Floats rotation, Floats scale, ffi::AnyBuffer voxels, ffi::RemainingArgs rest, ffi::Result<Floats> rgba,
                       ffi::Result<Floats> saturation, ffi::Result<Ints> saturation_at, float step_size) {
  Scene scene;
  const SceneBuffers buffers = {origin, direction, bounds, position, rotation, scale, voxels};
  AVA_RETURN_IF_ERROR(MakeScene(buffers, rest, VoxelTypes::kFloat32, step_size, &scene));
  Image image;
  AVA_RETURN_IF_ERROR(MakeImage(scene.shape, rgba, saturation, saturation_at, &image));
  return Guarded("raymarch", [&] { Forward(scene, image, MakePool(threads)); });
}

ffi::Error BackwardImpl(ffi::ThreadPool threads, Floats d_image, Floats saturation, Ints saturation_at, Floats origin,
                        Floats direction, Floats bounds, Floats position, Floats rotation, Floats scale, ffi::AnyBuffer voxels,
                        ffi::RemainingArgs rest, ffi::Result<Floats> d_position, ffi::Result<Floats> d_rotation,
                        ffi::Result<Floats> d_scale, ffi::Result<ffi::AnyBuffer> d_voxels, ffi::RemainingRets d_rest,
                        float step_size) {
  Scene scene;
  const SceneBuffers buffers = {origin, direction, bounds, position, rotation, scale, voxels};
  AVA_RETURN_IF_ERROR(MakeScene(buffers, rest, VoxelTypes::kFloat32, step_size, &scene));
  GradientBuffers results = {d_position, d_rotation, d_scale, d_voxels};
  Cotangent cotangent;
  Gradient gradient;
  AVA_RETURN_IF_ERROR(MakeGradient(scene, voxels, d_image, saturation, saturation_at, results, d_rest, 0, &cotangent, &gradient));
  return Guarded("raymarch", [&] { Backward(scene, cotangent, gradient, MakePool(threads)); });
}

}  // namespace
}  // namespace raymarch
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRaymarchForward, ava::raymarch::ForwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .Ret<ava::raymarch::Floats>()
                                  .Ret<ava::raymarch::Floats>()
                                  .Ret<ava::raymarch::Ints>()
                                  .Attr<float>("step_size"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRaymarchBackward, ava::raymarch::BackwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Ints>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ava::raymarch::Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .Ret<ava::raymarch::Floats>()
                                  .Ret<ava::raymarch::Floats>()
                                  .Ret<ava::raymarch::Floats>()
                                  .Ret<ffi::AnyBuffer>()
                                  .RemainingRets()
                                  .Attr<float>("step_size"));
