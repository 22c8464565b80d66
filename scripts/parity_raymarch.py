"""Raymarch scenes of a folder of golden vectors against `ops.raymarch` on the platform at hand.

`python scripts/parity_raymarch.py --golden=DIR [--assets=DIR]` prints a line an array and exits 1 when one is off; `rows` does
the same for `scripts/parity.py`.
"""

import pathlib
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from parity_row import Row
from PIL import Image

from ava_jax.core.types import Cameras, Primitives, Rays
from ava_jax.ops import camera_rays, raymarch

SCENES = ("grid64", "warp27", "inside100")
HEAD_SEED = "alpha_seed"
COLOUR_BOUND, ALPHA_BOUND = 0.05, 1e-3  # of 255, of 1
SMALL_BOUND, HEAD_BOUND, HEAD_L2_BOUND = 2e-4, 2e-2, 2e-3  # of the array's largest value; of its norm


def rows(golden: pathlib.Path | str, assets: pathlib.Path | str | None = None, implementation: str | None = None) -> Iterator[Row]:
    """Compares every scene. `assets` holds the head's texture, `021924_avgtex.png`; by default the folder beside `golden`."""
    golden = pathlib.Path(golden)
    assets = pathlib.Path(assets) if assets else golden.parent / "assets"
    for scene in SCENES:
        yield from _small_rows(scene, np.load(golden / f"raymarch_{scene}.npz"), implementation)
    yield from _head_rows(np.load(golden / "raymarch_head16384.npz"), assets / "021924_avgtex.png", implementation)


def differentiate(rays, prims, step_size, cotangent, warp=None, implementation=None):
    """RGBA, and the gradients of its product with `cotangent` by primitives and warp field."""

    @jax.jit
    def run(rays, prims, warp, cotangent):
        def march(prims, warp):
            return raymarch(rays, prims, step_size=step_size, warp=warp, implementation=implementation)

        rgba, transpose = jax.vjp(march, prims, warp)
        return rgba, *transpose(cotangent)

    return jax.block_until_ready(run(rays, prims, warp, cotangent))


def _small_rows(scene: str, data, implementation) -> Iterator[Row]:
    rays = Rays(*(jnp.asarray(data[name])[:, None] for name in ("raypos", "raydir", "tminmax")))
    prims = Primitives(*(jnp.asarray(data[name]) for name in ("primpos", "primrot", "primscale", "template")))
    warp = jnp.asarray(data["warp"]) if "warp" in data else None
    cotangent = jnp.asarray(data["grad"])[:, None]
    rgba, d_prims, d_warp = differentiate(rays, prims, float(data["stepsize"]), cotangent, warp, implementation)
    yield from _image_rows(scene, rgba[:, 0], data["out_rgba"])
    for name, gradient in zip(("primpos", "primrot", "primscale", "template"), d_prims):
        yield _relative_row(f"{scene} d_{name}", gradient, data[f"out_d_{name}"], SMALL_BOUND)
    if d_warp is not None:
        yield _relative_row(f"{scene} d_warp", d_warp, data["out_d_warp"], SMALL_BOUND)


def head_cameras(data) -> Cameras:
    """[F, 1] cameras of a file with campos, camrot, focal, princpt [F, ...]."""
    return Cameras(*(jnp.asarray(data[name], jnp.float32)[:, None] for name in ("camrot", "campos", "focal", "princpt")))


def head_primitives(data, texture: pathlib.Path, variant: str) -> Primitives:
    """The 16,384 primitives of the head, [1, K, ...]: "init" (density 1) or "trained"."""
    if not texture.is_file():
        raise FileNotFoundError(f"{texture}: the head scene takes its colour from this texture (see --assets).")
    side = 8
    across = Image.open(texture).width // side  # primitives per side
    image = np.asarray(Image.open(texture).convert("RGB"), np.float32)
    tiles = image.reshape(across, side, across, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 1, side, side, 3)
    rgba = np.empty((across * across, side, side, side, 4), np.float32)
    rgba[..., :3] = tiles
    rgba[..., 3] = 1.0
    if variant == "trained":
        noise = np.random.default_rng(int(data[HEAD_SEED])).standard_normal((*rgba.shape[:-1], 1), np.float32)
        rgba[..., 3:] = np.exp(4.0 + noise)
    return Primitives(*(jnp.asarray(data[name]) for name in ("primpos", "primrot", "primscale")), jnp.asarray(rgba[None]))


def _head_rows(data, texture: pathlib.Path, implementation) -> Iterator[Row]:
    """One view after the other of the same primitives: the golden gradients are a view's own."""
    height, width = (int(x) for x in data["image_hw"])
    rays = camera_rays(head_cameras(data), height, width, radius=float(data["volradius"]))
    # Marched along the reference's own: rays that differ in the last bit shift every sample, and where alpha reaches 1 within
    # 1e-5 another sample saturates.
    wanted_rays = _reference_rays(data, rays)
    for name, ours, expected in (("raydir", rays.direction, data["out_raydir"]), ("tminmax", rays.bounds, data["out_tminmax"])):
        hit = np.asarray(rays.bounds[:, 0, ..., 0] < rays.bounds[:, 0, ..., 1])
        yield _relative_row(f"head16384 {name}", np.asarray(ours[:, 0])[hit], expected[hit], 1e-5)
    shape = (2, height, width, 4)
    cotangent = np.random.default_rng(int(data[HEAD_SEED]) + 1).standard_normal(shape, np.float32)
    for variant in ("init", "trained"):
        prims = head_primitives(data, texture, variant)
        views = []
        for v in range(2):
            view = jax.tree.map(lambda x, v=v: x[v : v + 1], wanted_rays)
            rgba, d, _ = differentiate(view, prims, float(data["stepsize"]), cotangent[v][None, None], None, implementation)
            sums = d.rgba.sum((2, 3, 4))
            views.append((rgba[0], d.position[:, ::3], d.rotation[:, ::3], d.scale[:, ::3], sums, d.rgba[:, 5::331]))
        yield from _head_variant_rows(variant, [np.concatenate(x) for x in zip(*views)], data)


def _reference_rays(data, rays: Rays) -> Rays:
    origin = np.broadcast_to(data["out_raypos0"][:, None, None, None], rays.origin.shape)
    return Rays(*(jnp.asarray(x, jnp.float32) for x in (origin, data["out_raydir"][:, None], data["out_tminmax"][:, None])))


def _head_variant_rows(variant: str, ours, data) -> Iterator[Row]:
    yield from _image_rows(f"head16384 {variant}", ours[0], data[f"out_{variant}_rgba"])
    names = ("d_primpos", "d_primrot", "d_primscale", "d_template_primsum", "d_template_s")
    for name, gradient in zip(names, ours[1:]):
        expected = data[f"out_{variant}_{name}"]
        yield _relative_row(f"head16384 {variant} {name}", gradient, expected, HEAD_BOUND)
        error = float(np.linalg.norm(gradient - expected))
        scale = float(np.linalg.norm(expected))
        yield Row(f"head16384 {variant} {name} L2", error, scale, HEAD_L2_BOUND, error <= HEAD_L2_BOUND * scale)


def _image_rows(scene: str, rgba, expected) -> Iterator[Row]:
    for name, channels, bound in (("colour", slice(0, 3), COLOUR_BOUND), ("alpha", slice(3, 4), ALPHA_BOUND)):
        error = float(np.abs(np.asarray(rgba)[..., channels] - expected[..., channels]).max())
        yield Row(f"{scene} {name}", error, 1.0, bound, error <= bound)


def _relative_row(name: str, ours, expected, bound: float) -> Row:
    error, scale = float(np.abs(np.asarray(ours) - expected).max()), float(np.abs(expected).max())
    return Row(name, error, scale, bound, error <= bound * scale)


def main(argv):
    del argv
    off = 0
    for row in rows(_GOLDEN.value, _ASSETS.value, _IMPLEMENTATION.value):
        relative, verdict = row.max_error / row.scale, "ok" if row.ok else "OFF"
        print(f"{row.name:44} error {row.max_error:9.2e} of {row.scale:9.2e} = {relative:8.1e} (<= {row.bound:g}) {verdict}")
        off += not row.ok
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    _GOLDEN = flags.DEFINE_string("golden", None, "Folder of the golden vectors.", required=True)
    _ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924_avgtex.png; by default the one beside --golden.")
    _IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "jax"; by default the best there is.')
    app.run(main)
