// The buffers of a raymarch call as a Scene, checked; shared by the handlers of all platforms.
#pragma once

#include "../common/check.h"
#include "params.h"

namespace ava {
namespace raymarch {

namespace ffi = xla::ffi;

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;

struct SceneBuffers {
  Floats origin, direction, bounds, position, rotation, scale;
  ffi::AnyBuffer rgba;  // float32 or, on some platforms, bfloat16
};

// The types that templates may have.
enum class VoxelTypes { kFloat32, kFloat32OrBfloat16 };

#define AVA_RETURN_IF_ERROR(expression)       \
  if (ffi::Error error = (expression); error.failure()) return error

inline xla::ffi::Error CheckScene(const SceneBuffers& b, const Shape& s) {
  const int64_t f = s.frames, n = s.views, h = s.height, w = s.width, k = s.primitives, d = s.side;
  AVA_RETURN_IF_ERROR(CheckShape("origin", b.origin.dimensions(), f, {n, h, w, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("direction", b.direction.dimensions(), f, {n, h, w, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("bounds", b.bounds.dimensions(), f, {n, h, w, 2}));
  AVA_RETURN_IF_ERROR(CheckShape("position", b.position.dimensions(), f, {k, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("rotation", b.rotation.dimensions(), f, {k, 3, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("scale", b.scale.dimensions(), f, {k, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("rgba", b.rgba.dimensions(), f, {k, d, d, d, 4}));
  if (s.primitives >= kNever) return ffi::Error::InvalidArgument("raymarch: at most 2^31 - 2 primitives");
  if (s.side < 2 || s.side > 512) return ffi::Error::InvalidArgument("raymarch: rgba must have 2 to 512 voxels per side");
  return ffi::Error::Success();
}

// Reads the shape off the arguments and checks that they agree.
inline xla::ffi::Error MakeScene(const SceneBuffers& b, ffi::RemainingArgs& rest, VoxelTypes types, float step_size, Scene* scene) {
  const bool bfloat16 = b.rgba.element_type() == ffi::BF16;
  if (bfloat16 ? types == VoxelTypes::kFloat32 : b.rgba.element_type() != ffi::F32) {
    return ffi::Error::InvalidArgument(types == VoxelTypes::kFloat32 ? "raymarch: rgba must be float32"
                                                                     : "raymarch: rgba must be float32 or bfloat16");
  }
  const ffi::Span<const int64_t> rays = b.origin.dimensions(), voxels = b.rgba.dimensions();
  if (rays.size() < 4 || voxels.size() < 5) {
    return ffi::Error::InvalidArgument("raymarch: origin must have 4 axes or more, rgba 5 or more");
  }
  Shape shape = {};
  shape.frames = 1;
  for (size_t i = 0; i + 4 < rays.size(); ++i) shape.frames *= rays[i];
  shape.views = rays[rays.size() - 4], shape.height = rays[rays.size() - 3], shape.width = rays[rays.size() - 2];
  shape.primitives = voxels[voxels.size() - 5];
  shape.side = static_cast<int32_t>(voxels[voxels.size() - 2]);
  AVA_RETURN_IF_ERROR(CheckScene(b, shape));
  if (!(step_size > 0.0f)) return ffi::Error::InvalidArgument("raymarch: step_size must be positive");
  *scene = {shape,
            step_size,
            b.origin.typed_data(),
            b.direction.typed_data(),
            b.bounds.typed_data(),
            b.position.typed_data(),
            b.rotation.typed_data(),
            b.scale.typed_data(),
            bfloat16 ? nullptr : b.rgba.typed_data<float>(),
            nullptr,
            bfloat16 ? b.rgba.typed_data<uint16_t>() : nullptr};
  if (rest.size() == 0) return ffi::Error::Success();
  ffi::ErrorOr<Floats> warp = rest.get<Floats>(0);
  if (warp.has_error()) return warp.error();
  const ffi::Span<const int64_t> dims = warp->dimensions();
  const int64_t g = dims.size() < 5 ? 0 : dims[dims.size() - 2];
  AVA_RETURN_IF_ERROR(CheckShape("warp", dims, shape.frames, {shape.primitives, g, g, g, 3}));
  if (g < 2 || g > 512) return ffi::Error::InvalidArgument("raymarch: warp must have 2 to 512 voxels per side");
  scene->shape.warp_side = static_cast<int32_t>(g);
  scene->warp = warp->typed_data();
  return ffi::Error::Success();
}

// Checks the results of the forward pass.
inline ffi::Error MakeImage(const Shape& s, ffi::Result<Floats>& rgba, ffi::Result<Floats>& saturation,
                            ffi::Result<Ints>& saturation_at, Image* image) {
  AVA_RETURN_IF_ERROR(CheckShape("result rgba", rgba->dimensions(), s.frames, {s.views, s.height, s.width, 4}));
  AVA_RETURN_IF_ERROR(CheckShape("result saturation", saturation->dimensions(), s.frames, {s.views, s.height, s.width, 4}));
  AVA_RETURN_IF_ERROR(
      CheckShape("result saturation_at", saturation_at->dimensions(), s.frames, {s.views, s.height, s.width, 2}));
  *image = {rgba->typed_data(), saturation->typed_data(), saturation_at->typed_data()};
  return ffi::Error::Success();
}

struct GradientBuffers {
  ffi::Result<Floats> position, rotation, scale;
  ffi::Result<ffi::AnyBuffer> rgba;  // as the argument
};

// Checks arguments and results of the backward pass; `rgba` holds the scene's, `warp` is result number `warp_index` of the rest.
inline ffi::Error MakeGradient(const Scene& scene, const ffi::AnyBuffer& rgba, Floats& d_image, Floats& saturation,
                               Ints& saturation_at, GradientBuffers& d, ffi::RemainingRets& rest, size_t warp_index,
                               Cotangent* cotangent, Gradient* gradient) {
  const Shape& s = scene.shape;
  const int64_t k = s.primitives, side = s.side, g = s.warp_side;
  AVA_RETURN_IF_ERROR(CheckShape("cotangent", d_image.dimensions(), s.frames, {s.views, s.height, s.width, 4}));
  AVA_RETURN_IF_ERROR(CheckShape("saturation", saturation.dimensions(), s.frames, {s.views, s.height, s.width, 4}));
  AVA_RETURN_IF_ERROR(CheckShape("saturation_at", saturation_at.dimensions(), s.frames, {s.views, s.height, s.width, 2}));
  AVA_RETURN_IF_ERROR(CheckShape("result d_position", d.position->dimensions(), s.frames, {k, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("result d_rotation", d.rotation->dimensions(), s.frames, {k, 3, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("result d_scale", d.scale->dimensions(), s.frames, {k, 3}));
  AVA_RETURN_IF_ERROR(CheckShape("result d_rgba", d.rgba->dimensions(), s.frames, {k, side, side, side, 4}));
  if (d.rgba->element_type() != rgba.element_type()) {
    return ffi::Error::InvalidArgument("raymarch: result d_rgba must have rgba's type");
  }
  const bool bfloat16 = d.rgba->element_type() == ffi::BF16;
  *gradient = {d.position->typed_data(),
               d.rotation->typed_data(),
               d.scale->typed_data(),
               bfloat16 ? nullptr : d.rgba->typed_data<float>(),
               nullptr,
               bfloat16 ? d.rgba->typed_data<uint16_t>() : nullptr};
  if (scene.warp != nullptr) {
    ffi::ErrorOr<ffi::Result<Floats>> d_warp = rest.get<Floats>(warp_index);
    if (d_warp.has_error()) return d_warp.error();
    AVA_RETURN_IF_ERROR(CheckShape("result d_warp", (*d_warp)->dimensions(), s.frames, {k, g, g, g, 3}));
    gradient->warp = (*d_warp)->typed_data();
  }
  *cotangent = {d_image.typed_data(), saturation.typed_data(), saturation_at.typed_data()};
  return ffi::Error::Success();
}

}  // namespace raymarch
}  // namespace ava
