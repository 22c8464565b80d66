"""Places the primitives on the mesh. Source: Mixture of Volumetric Primitives, 2021, section 3.2."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from ava_jax.core.parallel import batch_max
from ava_jax.core.types import Primitives
from ava_jax.core.variables import Constant, Running
from ava_jax.tasks.ava256.kernels.voxels import Slab, template, template_of_slabs
from ava_jax.tasks.ava256.model import seams
from ava_jax.tasks.ava256.model.decoders import Geometry
from ava_jax.tasks.ava256.model.sizes import Sizes
from ava_jax.tasks.ava256.model.texels import MARGIN
from ava_jax.tasks.ava256.model.uv import UvMap

_RUNNING_KEEP = 0.9
_LARGEST = 3e38  # the largest float32, about
_SMALLEST_DISTANCE = 1e-4  # volume radii: where texels have one surface point, boxes stay finite
PLACEMENTS = ("texel", "patch")


class Assembler(nnx.Module):
    """Decoded slabs and vertices to primitives. A primitive sits at the middle texel of its patch of the chart."""

    def __init__(self, sizes: Sizes, uv_map: UvMap, volume_radius: float, *, placement: str = "texel", mesh: np.ndarray | None = None):
        """Looks up what each primitive reads.

        Args:
          sizes: of the networks.
          uv_map: of the slab's side.
          volume_radius: mm.
          placement: of PLACEMENTS, as `config.model.primitive_placement`.
          mesh: [V, 3], some head, on which it is seen where islands of the chart lie beside each other. None: nowhere.
        """
        index, weights = uv_map
        n, d = sizes.per_side, sizes.depth
        middle, following = slice(d // 2, None, d), slice(d // 2 + 1, None, d)
        texels: list = [(middle, middle), (middle, following), (following, middle)]  # the centre, the next column, the next row
        self.by_patch = placement == "patch"
        if self.by_patch:
            first, last = np.arange(0, sizes.slab, d), np.minimum(np.arange(d, sizes.slab + d, d), sizes.slab - 1)
            at = np.arange(d // 2, sizes.slab, d)
            # The centre, then the middles of the patch's edges: left, right, upper, lower.
            texels = [np.ix_(at, at), np.ix_(at, first), np.ix_(at, last), np.ix_(first, at), np.ix_(last, at)]
        counts = None
        if mesh is not None:
            right, below = seams.leaps(np.einsum("ijc,ijcl->ijl", weights, np.asarray(mesh, np.float64)[index]), np.asarray(index))
            if right.any() or below.any():
                texels, counts = self._within_islands(texels, right, below, d)
        # Where the next primitive is of the same island; None: everywhere, or sizes do not follow from it.
        self.u_counts, self.v_counts = (None, None) if counts is None else (Constant(jnp.asarray(x)) for x in counts)
        self.index = Constant(jnp.stack([jnp.asarray(index[rows, columns]) for rows, columns in texels]))
        self.weights = Constant(jnp.stack([jnp.asarray(weights[rows, columns]) for rows, columns in texels]))
        self.running_scale = Running(jnp.zeros(sizes.primitives))  # [K], reciprocal volume radii; 0 before the first update
        self.per_side, self.depth = n, d
        self.template_dtype = sizes.template_dtype
        self.volume_radius = volume_radius

    def _within_islands(self, texels: list, right: np.ndarray, below: np.ndarray, d: int) -> tuple[list, tuple | None]:
        """`texels` without those of other islands; and, where a primitive's size follows the next one, which of those count."""
        at = np.arange(d // 2, len(right), d)
        rows, columns = np.ix_(at, at)
        if self.by_patch:
            first, last = at - d // 2, np.minimum(at + d // 2, len(right) - 1)
            across = [(rows, seams.reach(right[at], at, goal)) for goal in (first, last)]
            down = [(seams.reach(below[:, at].T, at, goal).T, columns) for goal in (first, last)]
            return [texels[0], *across, *down], None
        along_u = seams.reach(right[at], at[:-1], at[1:]) == at[1:]
        along_v = (seams.reach(below[:, at].T, at[:-1], at[1:]) == at[1:]).T
        return texels, (along_u, along_v)

    def __call__(
        self, geometry: Geometry, colour: jax.Array | Slab, placement: jax.Array, *, guided: jax.Array | bool = False
    ) -> Primitives:
        """Primitives of a batch.

        Args:
          geometry: decoded; its vertices are not read.
          colour: [B, S, S, 3 d], the decoded slab; a `Slab` if the geometry's is.
          placement: [B, V, 3], mm, the mesh that carries the primitives.
          guided: while true, residuals are left out and the running scale follows `placement`. May be traced.
        """
        centre, frames, scale = self._placed(placement / self.volume_radius, guided)
        applied = jnp.where(guided, 0.0, 1.0)
        if isinstance(colour, Slab):
            voxels = template_of_slabs(colour, geometry.log_opacity, self.template_dtype)
        else:
            voxels = template(colour, geometry.log_opacity, self.depth, self.template_dtype)
        return Primitives(
            position=centre + applied * geometry.position,
            # At full precision: a GPU's usual ten bits of mantissa would shear the boxes.
            rotation=jnp.matmul(frames, rotation_matrix(applied * geometry.rotation), precision=jax.lax.Precision.HIGHEST),
            scale=MARGIN * scale * jnp.where(guided, 1.0, geometry.scale),
            rgba=voxels,
        )

    def _placed(self, vertices: jax.Array, guided: jax.Array | bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Centres [B, K, 3], frames [B, K, 3, 3] and reciprocal half-extents, of no margin, [B, K, 3] or [K, 1], on a surface [B, V, 3]."""
        if self.by_patch:
            return placed_on_patches(*self._surface(vertices))
        centre, column, row = self._surface(vertices)
        running = self.running_scale[...]
        if guided is not False:
            running = jnp.where(guided, self._updated_scale(centre), running)
            self.running_scale[...] = running
        b = centre.shape[0]
        return centre.reshape(b, -1, 3), _frames(column - centre, row - centre).reshape(b, -1, 3, 3), running[:, None]

    def _surface(self, vertices: jax.Array) -> tuple[jax.Array, ...]:
        """Surface points [B, n, n, 3] at each primitive's texel, at the one right of it and at the one below; or at its patch's texels."""
        index, weights = self.index[...], self.weights[...]
        # Frames come from differences a thousandth of the coordinates: rounding a product before it is summed, as the published model does,
        # and fusing both into one operation give frames 5e-4 apart. Compilers fuse across everything but arithmetic, hence the clip.
        products = [vertices[:, index[..., i]] * weights[..., i, None] for i in range(3)]
        first, second, third = (jnp.clip(p, -_LARGEST, _LARGEST) for p in products)
        points = first + second + third
        return tuple(points[:, i] for i in range(points.shape[1]))

    def outward(self, vertices: jax.Array) -> jax.Array:
        """1.0 where boxes' third axes point out of a head [V, 3], mm, for the most part, else -1.0."""
        points = self._surface(jnp.asarray(vertices)[None] / self.volume_radius)
        du, dv = (points[2] - points[1], points[4] - points[3]) if self.by_patch else (points[1] - points[0], points[2] - points[0])
        away = points[0] - jnp.mean(points[0], axis=(1, 2), keepdims=True)
        return jnp.where(jnp.sum(jnp.cross(du, dv) * away) > 0, 1.0, -1.0)

    def _updated_scale(self, centre: jax.Array) -> jax.Array:
        spacing = _spacing(centre) if self.u_counts is None else _spacing(centre, self.u_counts[...], self.v_counts[...])
        largest = jnp.maximum(batch_max(spacing).reshape(-1), _SMALLEST_DISTANCE)
        new, old = 2.0 / largest, self.running_scale[...]
        return jnp.where(old > 0, _RUNNING_KEEP * old + (1.0 - _RUNNING_KEEP) * new, new)


def placed_on_patches(
    centre: jax.Array, left: jax.Array, right: jax.Array, upper: jax.Array, lower: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A box on each patch of a surface, as large as the patch is in this frame: where the surface stretches, boxes do.

    Args:
      centre, left, right, upper, lower: surface points [B, n, n, 3] at the middles of the patches and of their edges.

    Returns:
      Centres [B, K, 3], frames [B, K, 3, 3], reciprocal half-extents [B, K, 3]. No gradient passes through the last: boxes would learn to
      hide what they show wrong.
    """
    du, dv = right - left, lower - upper
    frames = _frames(du, dv)
    middle = (left + right + upper + lower) / 4
    # Edges of a curved patch lie lower than its middle: half of that is about the mean.
    normal = frames[..., 2]
    middle = middle + 0.5 * normal * jnp.sum(normal * (centre - middle), axis=-1, keepdims=True)
    along = jnp.stack([jnp.linalg.norm(lax.stop_gradient(d), axis=-1) for d in (du, dv)], axis=-1)
    sides = jnp.maximum(jnp.concatenate([along, jnp.mean(along, axis=-1, keepdims=True)], axis=-1), _SMALLEST_DISTANCE)
    b = middle.shape[0]
    return middle.reshape(b, -1, 3), frames.reshape(b, -1, 3, 3), (2.0 / sides).reshape(b, -1, 3)


def _spacing(centre: jax.Array, u_counts: jax.Array | None = None, v_counts: jax.Array | None = None) -> jax.Array:
    """Distance to the next primitive along u or v, whichever is larger: [B, n, n, 3] to [B, n, n]. The last ones repeat those before.

    Where `u_counts` [n, n - 1] or `v_counts` [n - 1, n] is False, the next one is on another island, and the mean distance stands for it.
    """
    along_u = jnp.linalg.norm(centre[:, :, 1:] - centre[:, :, :-1], axis=-1)
    along_v = jnp.linalg.norm(centre[:, 1:] - centre[:, :-1], axis=-1)
    if u_counts is not None and v_counts is not None:
        along_u = jnp.where(u_counts, along_u, jnp.mean(along_u, axis=(1, 2), where=u_counts, keepdims=True))
        along_v = jnp.where(v_counts, along_v, jnp.mean(along_v, axis=(1, 2), where=v_counts, keepdims=True))
    along_u = jnp.concatenate([along_u, along_u[:, :, -1:]], axis=2)
    along_v = jnp.concatenate([along_v, along_v[:, -1:]], axis=1)
    return jnp.maximum(along_u, along_v)


def _frames(du: jax.Array, dv: jax.Array) -> jax.Array:
    """Tangent frames [..., 3, 3], columns (tangent, bitangent, normal), of the surface's differences along u and v.

    Where these vanish or are parallel (texels of one surface point) there is no frame; the head's axes are used.
    """
    normal = jnp.cross(du, dv)
    area = jnp.sum(normal**2, axis=-1, keepdims=True)
    ok = area > 1e-12 * jnp.maximum(jnp.sum(du**2, -1, keepdims=True) * jnp.sum(dv**2, -1, keepdims=True), 1e-24)
    tangent = _normalise(jnp.where(ok, du, jnp.array([1.0, 0.0, 0.0])))
    normal = _normalise(jnp.cross(tangent, jnp.where(ok, dv, jnp.array([0.0, 1.0, 0.0]))))
    return jnp.stack([tangent, jnp.cross(normal, tangent), normal], axis=-1)


def _normalise(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))


def rotation_matrix(vector: jax.Array) -> jax.Array:
    """Rodrigues' formula: rotation vectors [..., 3], radians, to matrices [..., 3, 3].

    The angle is sqrt(1e-5 + |vector|^2), which keeps the gradient finite at 0; there the result is cos(angle) I, as in the published model.
    """
    angle = jnp.sqrt(1e-5 + jnp.sum(vector**2, axis=-1, keepdims=True))
    x, y, z = jnp.moveaxis(vector / angle, -1, 0)
    cos, sin = jnp.cos(angle)[..., None], jnp.sin(angle)[..., None]
    zero = jnp.zeros_like(x)
    skew = jnp.stack([jnp.stack([zero, -z, y], -1), jnp.stack([z, zero, -x], -1), jnp.stack([-y, x, zero], -1)], -2)
    axis = jnp.stack([x, y, z], -1)
    return cos * jnp.eye(3) + sin * skew + (1.0 - cos) * axis[..., :, None] * axis[..., None, :]
