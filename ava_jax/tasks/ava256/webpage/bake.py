"""Decoded frames to what a page holds: poses, voxels and how both change, in few numbers.

Voxels are seen or not: those that count in no picture from around the head are dropped, and with them whole primitives. What is left is a
mean and a few components, of colours and of the densities' logarithms; a frame is the components' weights. Colours depend on where they are
seen from, by weights again, which a polynomial of the direction gives.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from ava_jax.core.types import Array, Cameras, Primitives
from ava_jax.ops import camera_rays, raymarch
from ava_jax.tasks.ava256.webpage import low_rank
from ava_jax.tasks.ava256.webpage.low_rank import ZERO_CODE

_LOWEST_DENSITY = 0.02  # per volume radius: a head's whole depth of it is not seen
_UNSEEN = 1e-3  # of what counts in the pictures: those voxels that count least and make up less than this together are not seen ...
_STILL = 1e-2  # ... and those that make up less than this do not change from frame to frame
_COLOUR_STEP, _DENSITY_STEP = 2.0, 0.04  # of a component at its largest weight: of 255, and of a logarithm; voxels average over several
_FRAMES_OF_BASIS, _FRAMES_OF_VIEWS = 24, 2  # whose voxels the components are found from, and of those how many from all directions
_POSE_TOLERANCES = {"position": 1e-4, "rotation": 1e-3, "log_scale": 2e-3}  # RMS: volume radii; about radians / 2; a factor's logarithm
_MOST_OF_POSE = 32
_RIDGE = 1e-2  # of the views' fit: what two frames cannot tell stays small


class Baked(NamedTuple):
    """A segment of an avatar, K primitives of side D that are seen, F frames.

    Attributes:
      mean: u8 [K, D, D, D, 4]: colours / `colour_scale` * 255, and codes of log densities: 0 is none, else linear from 1 to 255 in
        `log_density`.
      basis: u8 [R, K, D, D, D, 4], components of both; 128 is zero.
      basis_scale: f32 [R, 2]: what a step of a component's colour, 0-255, and of its log density is worth.
      weights: f32 [F, R, 2], seen from the first view: of colour and of log density.
      view: f32 [8, R]: added to the colours' weights, times `view_features(direction) - view_features(first)`.
      first_view: f32 [3], unit direction of the first view.
      poses: name -> (mean f32 [K * C], components f32 [P, K * C], weights f32 [F, P]): "position", C = 3, volume radii; "rotation",
        C = 4, quaternions x, y, z, w, not normalised; "log_scale", C = 3, of the reciprocal half-extents.
      colour_scale: the largest colour.
      log_density: the least and the largest.
      pruned: how many primitives are not seen.
    """

    mean: np.ndarray
    basis: np.ndarray
    basis_scale: np.ndarray
    weights: np.ndarray
    view: np.ndarray
    first_view: np.ndarray
    poses: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    colour_scale: float
    log_density: tuple[float, float]
    pruned: int


def bake(
    decode: Callable[[int, np.ndarray], Primitives],
    frames: int,
    cameras: Cameras,
    picture: tuple[int, int],
    *,
    step_size: float,
    radius: float,
    rank: int = 8,
) -> Baked:
    """Bakes a segment.

    Args:
      decode: gives the primitives, of one frame, of a frame's index, seen from a position f32 [3], mm, head space.
      frames: F.
      cameras: [V], mm, head space: that look at the head from all sides; the first one from where colours matter most.
      picture: height and width of their pictures: no voxel that is seen may fall between pixels.
      step_size: of the march, volume radii.
      radius: of the volume, mm.
      rank: components of the voxels, at most.

    Raises:
      ValueError: nothing is seen, or a primitive's pose is not finite.
    """
    span = (float(np.log(_LOWEST_DENSITY)), float(np.log(4.0 / step_size)))  # a sample of more than 1 / step_size ends a ray
    see = _visibility(picture, step_size, radius)
    chosen = low_rank.evenly(frames, _FRAMES_OF_BASIS)
    turned = low_rank.evenly(frames, _FRAMES_OF_VIEWS) if len(cameras.position) > 1 else []
    pairs = [(frame, 0) for frame in chosen] + [(frame, view) for frame in turned for view in range(1, len(cameras.position))]
    seen, colours, densities = 0.0, [], []
    for i, (frame, view) in enumerate(tqdm(pairs, desc="voxels", unit="frame")):
        prims = decode(frame, np.asarray(cameras.position[view]))
        from_where = view or i % len(cameras.position)  # what is seen depends little on colours: each frame from another side
        seen = seen + np.asarray(see(prims, _one(cameras, from_where)))
        colour, density = _voxels(prims, span)
        colours.append(colour.astype(np.float16))
        if not view:
            densities.append(density.astype(np.float16))
    kept, importance = _importance(seen)
    colours, densities = (np.stack([one[kept].reshape(-1, one.shape[-1]) for one in samples]) for samples in (colours, densities))
    parts = [_Part.of(samples, importance, rank, step) for samples, step in ((colours, _COLOUR_STEP), (densities, _DENSITY_STEP))]
    poses, weights = _all_frames(decode, frames, np.asarray(cameras.position[0]), kept, span, parts)
    voxels = _pack(parts, weights, importance, len(kept.nonzero()[0]), prims.rgba.shape[2], span)
    view, first = _views(parts[0], colours, pairs, cameras, len(voxels["basis"])), directions(cameras)[0].astype(np.float32)
    return Baked(**voxels, view=view, first_view=first, poses=poses, log_density=span, pruned=int(np.sum(~kept)))


class _Part(NamedTuple):
    """Colours [P, 3] or log densities [P, 1] of all voxels kept: the mean, components as codes, and their use."""

    mean: np.ndarray
    codes: np.ndarray
    scales: list[float]
    project: low_rank.Projection

    @classmethod
    def of(cls, samples: np.ndarray, importance: np.ndarray, rank: int, step: float) -> "_Part":
        mean, basis, largest = low_rank.components(samples, importance, rank)
        changing = _but_least(importance, _STILL)
        coded = [low_rank.to_codes(one, changing, step / max(weight, 1e-12)) for one, weight in zip(basis, largest, strict=True)]
        codes = np.stack([codes for codes, _ in coded]) if coded else np.zeros((0, *mean.shape), np.uint8)
        scales = [scale for _, scale in coded]
        for i, scale in enumerate(scales):  # what rounding left
            basis[i] = (codes[i].astype(np.float32) - ZERO_CODE) * scale
        return cls(mean, codes, scales, low_rank.Projection(mean, basis, importance))


def _all_frames(decode, frames: int, position: np.ndarray, kept: np.ndarray, span, parts: list[_Part]):
    """Poses of all frames as components, and the voxels' weights."""
    poses: dict[str, list[np.ndarray]] = {name: [] for name in _POSE_TOLERANCES}
    weights = []
    for frame in tqdm(range(frames), desc="frames", unit="frame"):
        prims = decode(frame, position)
        weights.append([part.project(one[kept].reshape(-1, one.shape[-1])) for part, one in zip(parts, _voxels(prims, span))])
        where, turn, scale = (np.asarray(one[0], np.float64)[kept] for one in prims[:3])
        if not all(np.isfinite(one).all() for one in (where, turn, scale)):
            raise ValueError(f"bake: a primitive's pose in frame {frame} is not finite.")
        quaternion = Rotation.from_matrix(turn).as_quat()
        if poses["rotation"]:  # q and -q are one rotation; their mean is none
            quaternion *= np.where((quaternion * poses["rotation"][0].reshape(-1, 4)).sum(-1, keepdims=True) < 0, -1, 1)
        for name, value in zip(_POSE_TOLERANCES, (where, quaternion, np.log(scale))):
            poses[name].append(value.reshape(-1).astype(np.float32))
    fitted = {name: low_rank.fit(np.stack(all_), _POSE_TOLERANCES[name], _MOST_OF_POSE) for name, all_ in poses.items()}
    return fitted, weights


def _views(part: _Part, colours: np.ndarray, pairs: list[tuple[int, int]], cameras: Cameras, rank: int) -> np.ndarray:
    """What the direction of view adds to the colours' weights, fitted to all frames seen from several: [8, rank]."""
    scores = np.stack([part.project(one) for one in colours])
    front = {frame: i for i, (frame, view) in enumerate(pairs) if view == 0}
    turned = [i for i, (_, view) in enumerate(pairs) if view]
    found = np.zeros((8, rank), np.float32)
    if not turned:
        return found
    features = view_features(directions(cameras))
    x = np.stack([features[pairs[i][1]] - features[0] for i in turned])
    y = np.stack([scores[i] - scores[front[pairs[i][0]]] for i in turned])
    found[:, : y.shape[1]] = np.linalg.solve(x.T @ x + _RIDGE * np.eye(8), x.T @ y)
    return found


def directions(cameras: Cameras) -> np.ndarray:
    """Unit vectors [V, 3] from the head's origin to cameras [V], as the colour decoder takes them."""
    position = np.asarray(cameras.position, np.float64)
    return position / np.linalg.norm(position, axis=-1, keepdims=True)


def view_features(direction: Array) -> np.ndarray:
    """Polynomials of unit directions [..., 3] to the second degree, but for the constant: [..., 8]."""
    x, y, z = np.moveaxis(np.asarray(direction, np.float64), -1, 0)
    return np.stack([x, y, z, x * y, y * z, x * z, x * x, y * y], axis=-1)


def _pack(parts: list[_Part], weights, importance: np.ndarray, count: int, side: int, span) -> dict:
    """Means and components of `count` primitives as bytes, and the weights: fields of `Baked`."""
    (colour, density), matter = parts, (importance > 0)[:, None]
    voxels = side**3
    rank = max(len(part.codes) for part in parts)
    colour_scale = max(float(colour.mean.max(initial=0.0)), 255.0)
    # Unseen voxels take their primitive's mean colour, which packs well, and no density.
    boxes = colour.mean.reshape(count, voxels, 3)
    share = importance.reshape(count, voxels, 1)
    fill = np.repeat((boxes * share).sum(1) / share.sum(1), voxels, axis=0)
    rgb = np.rint(np.where(matter, colour.mean, fill) / colour_scale * 255)
    codes = 1 + np.rint((density.mean - span[0]) / (span[1] - span[0]) * 254)
    mean = np.concatenate([np.clip(rgb, 0, 255), np.where(matter, np.clip(codes, 1, 255), 0)], axis=-1).astype(np.uint8)
    basis = np.full((rank, count * voxels, 4), ZERO_CODE, np.uint8)
    basis[: len(colour.codes), :, :3], basis[: len(density.codes), :, 3:] = colour.codes, density.codes
    scales, all_weights = np.zeros((rank, 2), np.float32), np.zeros((len(weights), rank, 2), np.float32)
    for i, part in enumerate(parts):
        scales[: len(part.scales), i] = part.scales
        for frame, both in enumerate(weights):
            all_weights[frame, : len(both[i]), i] = both[i]
    cube = (side, side, side, 4)
    return dict(
        mean=mean.reshape(count, *cube),
        basis=basis.reshape(rank, count, *cube),
        basis_scale=scales,
        weights=all_weights,
        colour_scale=colour_scale,
    )


def _importance(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which primitives are seen, bool [K], and how much their voxels count, f32 [P], of these: 0 where neither they nor neighbours do."""
    there = _but_least(seen, _UNSEEN)
    kept = there.any((1, 2, 3))
    if not kept.any():
        raise ValueError("bake: none of the primitives is seen from any side: the avatar has learnt no density yet.")
    there, seen = there[kept], seen[kept]
    wide = np.pad(there, [(0, 0), (1, 1), (1, 1), (1, 1)])
    side = there.shape[1]
    near = np.zeros_like(there)
    for z, y, x in np.ndindex(3, 3, 3):
        near |= wide[:, z : z + side, y : y + side, x : x + side]
    least = 1e-3 * seen[there].mean()
    return kept, np.where(near, np.maximum(seen, least), 0).reshape(-1).astype(np.float32)


def _but_least(seen: np.ndarray, fraction: float) -> np.ndarray:
    """Where `seen` is, bool of its shape, but for the least values, which sum to `fraction` of all."""
    ordered = np.sort(seen, axis=None)
    place = int(np.searchsorted(np.cumsum(ordered, dtype=np.float64), fraction * ordered.sum(dtype=np.float64)))
    return seen > 0 if place == 0 else (seen > ordered[place - 1]) & (seen > 0)


def _visibility(picture: tuple[int, int], step_size: float, radius: float) -> Callable[[Primitives, Cameras], jax.Array]:
    """How much each voxel [K, D, D, D] counts in a camera's picture, in pixels: the gradient of the picture's sum by its colour."""

    @jax.jit
    def see(prims: Primitives, camera: Cameras) -> jax.Array:
        rays = camera_rays(jax.tree.map(lambda x: x[None, None], camera), *picture, radius=radius)
        rgba = prims.rgba.astype(jnp.float32)
        picture_of = lambda voxels: raymarch(rays, prims._replace(rgba=voxels), step_size=step_size)  # noqa: E731
        return jax.grad(lambda voxels: picture_of(voxels)[..., 0].sum())(rgba)[0, ..., 0]

    return see


@functools.partial(jax.jit, static_argnums=1)
def _to_logarithms(rgba: jax.Array, span: tuple[float, float]) -> tuple[jax.Array, jax.Array]:
    rgba = rgba.astype(jnp.float32)
    return rgba[..., :3], jnp.clip(jnp.log(jnp.maximum(rgba[..., 3:], 1e-30)), *span)


def _voxels(prims: Primitives, span: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Colours [K, D, D, D, 3] and clipped log densities [K, D, D, D, 1] of one frame."""
    colour, density = _to_logarithms(prims.rgba[0], span)
    return np.asarray(colour), np.asarray(density)


def _one(cameras: Cameras, i: int) -> Cameras:
    return Cameras(*(jnp.asarray(value[i]) for value in cameras))


def to_primitives(baked: Baked, frame: int, direction: Array | None = None) -> Primitives:
    """A frame as the page decodes it, of one frame's axis: what its pictures are compared with.

    Args:
      direction: unit [3], of view; None: the first view's.
    """
    colour_weights = baked.weights[frame, :, 0].astype(np.float64)
    if direction is not None:
        colour_weights = colour_weights + (view_features(direction) - view_features(baked.first_view)) @ baked.view
    per_channel = np.stack([*[colour_weights * baked.basis_scale[:, 0]] * 3, baked.weights[frame, :, 1] * baked.basis_scale[:, 1]], -1)
    change = np.einsum("rkzyxc,rc->kzyxc", baked.basis.astype(np.float32) - ZERO_CODE, per_channel.astype(np.float32))
    lowest, highest = baked.log_density
    colour = np.maximum(baked.mean[..., :3] / 255.0 * baked.colour_scale + change[..., :3], 0)
    logarithm = lowest + (baked.mean[..., 3:] - 1.0) / 254 * (highest - lowest) + change[..., 3:]
    density = np.where(baked.mean[..., 3:] > 0, np.exp(np.clip(logarithm, lowest, highest)), 0)
    position, rotation, scale = (mean + weights[frame] @ components for mean, components, weights in baked.poses.values())
    return Primitives(
        position=jnp.asarray(position.reshape(1, -1, 3), jnp.float32),
        rotation=jnp.asarray(Rotation.from_quat(rotation.reshape(-1, 4)).as_matrix()[None], jnp.float32),
        scale=jnp.asarray(np.exp(scale).reshape(1, -1, 3), jnp.float32),
        rgba=jnp.asarray(np.concatenate([colour, density], -1)[None], jnp.float32),
    )
