#include "handler.h"

#include <string>

#include "../buffers.h"
#include "cuda.h"

namespace ffi = xla::ffi;

namespace ava {
namespace rasterize {
namespace {

using Stream = ffi::PlatformStream<cudaStream_t>;

ffi::Error RasterizeImpl(cudaStream_t stream, Floats vertices, Ints faces, Ints behind_index, Floats behind_depth,
                         ffi::Result<Ints> index, ffi::Result<Floats> barycentrics, ffi::Result<Floats> depth, float low, float high) {
  Drawing d;
  if (ffi::Error unfit = MakeDrawing(vertices, faces, behind_index, behind_depth, index, barycentrics, depth, low, high, &d);
      unfit.failure()) {
    return unfit;
  }
  const cudaError_t error = CudaRasterize(d.scene, d.behind_index, d.behind_depth, d.out, stream);
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("rasterize: ") + cudaGetErrorString(error));
}

}  // namespace
}  // namespace rasterize
}  // namespace ava

XLA_FFI_DEFINE_HANDLER_SYMBOL(AvaRasterizeCuda, ava::rasterize::RasterizeImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ava::rasterize::Stream>()
                                  .Arg<ava::rasterize::Floats>()
                                  .Arg<ava::rasterize::Ints>()
                                  .Arg<ava::rasterize::Ints>()
                                  .Arg<ava::rasterize::Floats>()
                                  .Ret<ava::rasterize::Ints>()
                                  .Ret<ava::rasterize::Floats>()
                                  .Ret<ava::rasterize::Floats>()
                                  .Attr<float>("low")
                                  .Attr<float>("high"),
                              {ffi::Traits::kCmdBufferCompatible});
