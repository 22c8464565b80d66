#include "handler.h"

#include <string>

#include "../scene_buffers.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace raymarch {
namespace {

using Stream = ffi::PlatformStream<cudaStream_t>;

ffi::Error CheckLimits(const Shape& s, ffi::Result<Floats>& scratch, int64_t needed) {
  if (s.side > kCudaMaxSide || s.warp_side > kCudaMaxSide) {
    return ffi::Error::InvalidArgument("raymarch: on a GPU rgba and warp have at most " + std::to_string(kCudaMaxSide) +
                                       " voxels per side; got " + std::to_string(s.side) + " and " + std::to_string(s.warp_side));
  }
  const int64_t floats = static_cast<int64_t>(scratch->element_count());
  if (floats >= needed) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("raymarch: result scratch must have " + std::to_string(needed) + " floats; got " +
                                     std::to_string(floats));
}

ffi::Error Report(cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("raymarch: ") + cudaGetErrorString(error));
}

ffi::Error ForwardImpl(cudaStream_t stream, Floats origin, Floats direction, Floats bounds, Floats position, Floats rotation,
                       Floats scale, ffi::AnyBuffer voxels, ffi::RemainingArgs rest, ffi::Result<Floats> rgba,
                       ffi::Result<Floats> saturation, ffi::Result<Ints> saturation_at, ffi::Result<Floats> scratch,
                       float step_size) {
  Scene scene;
  const SceneBuffers buffers = {origin, direction, bounds, position, rotation, scale, voxels};
  AVA_RETURN_IF_ERROR(MakeScene(buffers, rest, VoxelTypes::kFloat32OrBfloat16, step_size, &scene));
  Image image;
  AVA_RETURN_IF_ERROR(MakeImage(scene.shape, rgba, saturation, saturation_at, &image));
  AVA_RETURN_IF_ERROR(CheckLimits(scene.shape, scratch, CudaForwardScratch(scene.shape)));
  return Report(CudaForward(scene, image, scratch->typed_data(), stream));
}

ffi::Error BackwardImpl(cudaStream_t stream, Floats d_image, Floats saturation, Ints saturation_at, Floats origin,
                        Floats direction, Floats bounds, Floats position, Floats rotation, Floats scale, ffi::AnyBuffer voxels,
                        ffi::RemainingArgs rest, ffi::Result<Floats> d_position, ffi::Result<Floats> d_rotation,
                        ffi::Result<Floats> d_scale, ffi::Result<ffi::AnyBuffer> d_voxels, ffi::Result<Floats> scratch,
                        ffi::RemainingRets d_rest, float step_size) {
  Scene scene;
  const SceneBuffers buffers = {origin, direction, bounds, position, rotation, scale, voxels};
  AVA_RETURN_IF_ERROR(MakeScene(buffers, rest, VoxelTypes::kFloat32OrBfloat16, step_size, &scene));
  GradientBuffers results = {d_position, d_rotation, d_scale, d_voxels};
  Cotangent cotangent;
  Gradient gradient;
  AVA_RETURN_IF_ERROR(MakeGradient(scene, voxels, d_image, saturation, saturation_at, results, d_rest, 0, &cotangent, &gradient));
  AVA_RETURN_IF_ERROR(CheckLimits(scene.shape, scratch, CudaBackwardScratch(scene.shape)));
  return Report(CudaBackward(scene, cotangent, gradient, scratch->typed_data(), stream));
}

}  // namespace
}  // namespace raymarch
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRaymarchForwardCuda, ava::raymarch::ForwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::raymarch::Stream>()
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
                                  .Ret<ava::raymarch::Floats>()
                                  .Attr<float>("step_size"),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRaymarchBackwardCuda, ava::raymarch::BackwardImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::raymarch::Stream>()
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
                                  .Ret<ava::raymarch::Floats>()
                                  .RemainingRets()
                                  .Attr<float>("step_size"),
                              {ffi::Traits::kCmdBufferCompatible});
