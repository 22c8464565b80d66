"""A few boxes that move and change, seen by a few cameras: what pages are tested with."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from ava_jax.core.cameras import look_at
from ava_jax.core.types import Cameras, Primitives
from ava_jax.ops import camera_rays, raymarch
from ava_jax.tasks.ava256.webpage import bake as baking
from ava_jax.tasks.ava256.webpage import page

RADIUS, STEP = 100.0, 1 / 32  # mm; volume radii
HEIGHT, WIDTH = 96, 80
COUNT, SIDE, FRAMES = 40, 4, 5
GAIN, OFFSET, BACKGROUND = np.array([0.9, 1.0, 1.1]), np.array([5.0, 0.0, -3.0]), (40, 90, 160)


def primitives(frame: int, position: np.ndarray) -> Primitives:
    """Overlapping boxes, most of them soon opaque, the last one behind them all and hidden; colours depend a little on the view."""
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * frame / FRAMES
    where = rng.uniform(-0.35, 0.35, (COUNT, 3)) + 0.05 * np.sin(phase + rng.uniform(0, 6, (COUNT, 3)))
    turn = Rotation.from_rotvec(rng.uniform(-1, 1, (COUNT, 3)) + 0.3 * np.cos(phase))
    size = rng.uniform(0.1, 0.25, (COUNT, 3))
    low, high, move, sway, aside = (rng.uniform(0, 1, (COUNT, 2, 2, 2, 4)) for _ in range(5))
    smooth = (low + high + 0.4 * np.sin(phase) * move + 0.3 * np.cos(phase) * sway) / 2.5
    voxels = smooth.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    view = position / np.linalg.norm(position)
    voxels[..., :3] += 0.1 * view[0] * aside.repeat(2, 1).repeat(2, 2).repeat(2, 3)[..., :3]
    rgba = np.concatenate([230 * voxels[..., :3] / 1.3, np.exp(4.5 * voxels[..., 3:])], -1)
    where[-1], size[-1] = 0, 0.02
    rgba[:3, ..., 3] = 500  # boxes that hide it
    where[:3], size[:3] = [[0, 0, 0.1], [0, 0, -0.1], [0.0, 0.0, 0.0]], 0.2
    arrays = where, turn.as_matrix(), 1 / size, rgba
    return Primitives(*(jnp.asarray(one[None], jnp.float32) for one in arrays))


def cameras(*angles: float) -> Cameras:
    """Around the boxes, degrees, from a little above; [V]."""
    positions = [300 * np.array([np.sin(a), 0.2, np.cos(a)]) for a in np.deg2rad(angles)]
    count = len(angles)
    return Cameras(
        np.stack([look_at(one, np.zeros(3), np.array([0.0, 1.0, 0.0])) for one in positions]).astype(np.float32),
        np.stack(positions).astype(np.float32),
        np.tile(np.float32([210, 220]), (count, 1)),
        np.tile(np.float32([WIDTH / 2 - 2.5, HEIGHT / 2 + 1.0]), (count, 1)),
    )


def picture(prims: Primitives, camera: Cameras) -> np.ndarray:
    """What the package's raymarcher shows, calibrated, over the background: [H, W, 3], 0-255."""
    rgba = np.asarray(_march(camera, prims))
    alpha = rgba[..., 3:]
    return np.clip(rgba[..., :3] * GAIN + alpha * OFFSET + (1 - alpha) * np.array(BACKGROUND), 0, 255)


@jax.jit
def _march(camera: Cameras, prims: Primitives) -> jax.Array:
    rays = camera_rays(jax.tree.map(lambda one: one[None], camera), HEIGHT, WIDTH, radius=RADIUS)
    return raymarch(rays, prims, step_size=STEP)[0, 0]


def about() -> page.Page:
    return page.Page(
        title="boxes </title>",
        about="boxes & a </script> in the text",
        fps=10,
        background=BACKGROUND,
        gain=GAIN,
        offset=OFFSET,
        step_size=STEP,
        radius=RADIUS,
        middle=np.zeros(3),
        size=(90.0, 100.0),
        margin=1.4,
        distance=300.0,
    )


def as_request(camera: Cameras, time: float) -> dict:
    """What the page's `show` takes."""
    fields = {name: np.asarray(value)[0].ravel().tolist() for name, value in camera._asdict().items()}
    return {"time": time, "camera": fields, "width": WIDTH, "height": HEIGHT}


def bake(*, decode=primitives, frames: int = FRAMES, rank: int = 4, views: tuple[float, ...] = (0, 60, 120, 180, 240, 300)) -> baking.Baked:
    return baking.bake(decode, frames, cameras(*views), (2 * HEIGHT, 2 * WIDTH), step_size=STEP, radius=RADIUS, rank=rank)


def psnr(shown: np.ndarray, true: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.asarray(shown, np.float64) - true) ** 2)))
