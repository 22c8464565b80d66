"""Sizes of the networks and the precision they compute in, from the model's config.

The published networks have one ladder of resolutions, 4 to 1024, with a number of channels for each. Smaller textures or slabs leave out
the finest resolutions.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

SIDES = (256, 512, 1024)
CODE_SIDE = 4  # codes are CODE_SIDE x CODE_SIDE x CODE_CHANNELS
CODE_CHANNELS = 16
# What activations are kept in, and products taken in. Weights, codes, meshes and what is rendered are float32 always.
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
TEMPLATES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}  # what voxels are stored in
VERTEX_SIDE = 256  # vertices are read from a map of this side, or of the slab's where that is smaller


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the networks.

    Attributes:
      per_side: n; n x n primitives.
      depth: d, the primitive's side, voxels.
      texture: T, side of the encoders' inputs, texels.
      width: multiplies hidden channels.
      precision: "float32" (products as the platform takes them by default: on recent NVIDIA GPUs in TF32) or "bfloat16" (with
        sums in float32).
      template: what the primitives' voxels and their gradient are stored in, "float32" or "bfloat16"; rendering computes in float32.
    """

    per_side: int
    depth: int
    texture: int
    width: float
    precision: str
    template: str = "float32"

    def __post_init__(self) -> None:
        if self.texture not in SIDES:
            raise ValueError(f"config.model.texture_size must be one of {SIDES}; got {self.texture}.")
        if self.slab not in SIDES:
            raise ValueError(
                f"config.model: primitives_per_side * primitive_side must be one of {SIDES}; "
                f"got {self.per_side} * {self.depth} = {self.slab}."
            )
        if self.per_side < 8 or self.depth < 4:
            raise ValueError(
                f"config.model: primitives_per_side must be at least 8 and primitive_side at least 4; got {self.per_side} and {self.depth}."
            )
        if not self.width > 0:
            raise ValueError(f"config.model.width must be positive; got {self.width}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"config.model.precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}.")
        if self.template not in TEMPLATES:
            raise ValueError(f"config.model.template_dtype must be one of {', '.join(TEMPLATES)}; got {self.template!r}.")

    @classmethod
    def of(cls, config: Any) -> "Sizes":
        """From `config.model`."""
        sides = config.primitives_per_side, config.primitive_side, config.texture_size
        return cls(*sides, config.width, config.precision, config.template_dtype)

    @property
    def dtype(self) -> jnp.dtype:
        """Of the networks' activations."""
        return PRECISIONS[self.precision]

    @property
    def template_dtype(self) -> jnp.dtype:
        """Of the primitives' voxels."""
        return TEMPLATES[self.template]

    @property
    def slab(self) -> int:
        """S, texels."""
        return self.per_side * self.depth

    @property
    def primitives(self) -> int:
        """K."""
        return self.per_side**2

    @property
    def vertex_map(self) -> int:
        """Side of the map that vertices are read from, texels."""
        return min(VERTEX_SIDE, self.slab)

    def channels(self, full: int) -> int:
        """Hidden channels where the published model has `full`: scaled, in multiples of 8."""
        return max(8, 8 * round(full * self.width / 8))
