"""Shapes as local implicit functions: elements, their decoder, values at points. Differentiable."""

from ava_jax.ops.implicit.decoder import DecoderWeights as DecoderWeights
from ava_jax.ops.implicit.decoder import decode as decode
from ava_jax.ops.implicit.elements import Elements as Elements
from ava_jax.ops.implicit.elements import from_network as from_network
from ava_jax.ops.implicit.elements import rotations as rotations
from ava_jax.ops.implicit.elements import world_to_local as world_to_local
from ava_jax.ops.implicit.evaluate import SURFACE as SURFACE
from ava_jax.ops.implicit.evaluate import evaluate as evaluate
from ava_jax.ops.implicit.evaluate import influences as influences
from ava_jax.ops.implicit.evaluate import occupancy as occupancy
from ava_jax.ops.implicit.values import is_compiled as is_compiled
from ava_jax.ops.implicit.values import values_at as values_at
from ava_jax.ops.implicit.values import values_on_grid as values_on_grid
