"""How well expressions drive people: codes that come back, neutral faces that stay neutral, mouths that open as far.

Every person drives every other one, and himself, by the codes of a segment's frames. Definitions, which `DEFINITIONS` repeats for files:

  code_error   the decoded face is encoded again, its mesh and its texture against the neutral face of the person shown, and the distance
               of that code from the one that drove is taken: root mean square over frames, divided by the root mean square distance of the
               driver's codes from their mean. 0: the same; 1: as far as a frame is from the mean.
  code_found   part of the frames whose own code is the nearest of all the driver's frames' to the code that came back.
  drift        mm: mean distance, over the face, of the decoded mesh from the neutral mesh of the person shown, driven by the code of the
               driver's neutral face. Encoders see differences from the neutral face, so that this code is the same for all drivers.
  mouth_r, mouth_slope   correlation, and slope of the least-squares line, of the opening of the mouth in the decoded mesh against that in
               the driver's tracked mesh, over frames.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from ava_jax.captures import chart
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.apps import driving
from ava_jax.tasks.ava256.evaluation.mouth import Lips
from ava_jax.tasks.ava256.model import texels
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.base import Compile, Score

MEAN, SEEN = "mean", "seen"  # how a texture is read out of primitives
SCORES = (
    Score("code_error", False, "of spread", digits=3),
    Score("code_found", True, digits=2),
    Score("drift", False, "mm", digits=2),
    Score("mouth_r", True, digits=3),
    Score("mouth_slope", True, digits=3),
)
DEFINITIONS = (__doc__ or "").partition("\n\n")[2].partition("\n\n")[2]


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody who drives and is driven.

    Attributes:
      name: of the capture.
      frames: of the segment, seen by the camera in front: arrays [F, ...], as `data.source` describes them.
      identity: the code, leading axis 1.
      codes: f32 [F, 4, 4, 16], of the frames.
      neutral: f32 [1, 4, 4, 16], of the neutral face.
    """

    name: str
    frames: Batch
    identity: IdentityCode
    codes: np.ndarray
    neutral: np.ndarray


class Pair(NamedTuple):
    """What became of one person driven by another.

    Attributes:
      driver, shown: names.
      scores: by name, as SCORES and what a user's networks add.
      opening: f64 [F], mm, of the decoded mouth.
    """

    driver: str
    shown: str
    scores: dict[str, float]
    opening: np.ndarray

    @property
    def own(self) -> bool:
        """Whether somebody drives himself."""
        return self.driver == self.shown


def encode(compile_model: Compile, samples: Mapping[str, Sequence[Batch]], batch_size: int) -> list[Person]:
    """Encodes people's frames.

    Args:
      compile_model: of the trained model.
      samples: name of a person -> samples, one or more, all of one camera.
      batch_size: frames at a time.
    """
    expression, identity = compile_model(driving.encode_expression), compile_model(driving.encode_identity)
    people = []
    for name, of in tqdm.tqdm(samples.items(), desc="encoding", unit="person"):
        frames = {key: np.stack([sample[key] for sample in of]) for key in of[0]}
        at_rest = {**frames, "texture": frames["neutral_texture"], "vertices": frames["neutral_vertices"]}
        codes = [np.asarray(expression(part))[:count] for part, count in parts(frames, batch_size)]
        first, _ = next(parts(at_rest, batch_size))  # of the shape that is compiled already
        neutral = np.asarray(expression(first))[:1]
        people.append(Person(name, frames, identity({key: value[:1] for key, value in frames.items()}), np.concatenate(codes), neutral))
    return people


def parts(frames: Any, batch_size: int) -> Iterator[tuple[Any, int]]:
    """A tree of arrays [F, ...] in batches of one size, the last filled up with its last, and how many of each count."""
    count = len(jax.tree.leaves(frames)[0])
    size = min(batch_size, count)
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        yield jax.tree.map(lambda x, index=index: x[index], frames), min(size, count - start)


def repeated(one: Any, count: int) -> Any:
    """A tree of arrays [1, ...] as [count, ...]."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape[1:])), one)


class Driving:
    """Compiled functions and what is common to all pairs."""

    def __init__(self, compile_model: Compile, assets: Assets, lips: Lips, *, batch_size: int, texture: str):
        """Compiles nothing yet.

        Args:
          compile_model: of the trained model.
          assets: the run's.
          lips: on its meshes.
          batch_size: frames at a time.
          texture: MEAN: a primitive's texels are the mean over depth of its voxels, which the loss term "texture" trains to be the tracked
            texture; SEEN: they are composited from outside, with shading and all. Texels that show no surface are the neutral face's.
        """
        arrays = {name: np.asarray(assets.arrays[name]) for name in ("faces", "face_uvs", "uvs", "vertices_mean")}
        mean, self._lips, self._batch_size = arrays.pop("vertices_mean"), lips, batch_size
        self._topology = Topology(**arrays)
        used = np.unique(self._topology.faces)
        near = np.linalg.norm(mean - chart.nose_tip(mean[used]), axis=1) < chart.FACE_RADIUS
        self._face = np.intersect1d(np.flatnonzero(near), used)
        surface = chart.shown(self._topology, mean, assets.arrays["texture_mean"].shape[0]) > 0
        self._driven = compile_model(lambda model, *args: _driven(model, *args, surface=surface, texture=texture))
        self._decoded = compile_model(lambda model, *args: model.decode(*args).vertices)

    def pair(self, driver: Person, shown: Person) -> Pair:
        """`shown` driven by all frames of `driver`."""
        neutral = {name: shown.frames[name][:1] for name in ("neutral_texture", "neutral_vertices")}
        back, opening = [], []
        for (codes, position), count in parts((driver.codes, driver.frames["camera_position"]), self._batch_size):
            found, vertices = (np.asarray(x)[:count] for x in self._driven(shown.identity, codes, position, neutral))
            back.append(found)
            opening.append(self._lips.opening(vertices))
        out = np.concatenate(opening)
        r, slope = line(self._lips.opening(driver.frames["vertices"]), out)
        error, hits = code_distance(driver.codes, np.concatenate(back))
        scores = {"code_error": error, "code_found": hits, "drift": self._drift(driver, shown), "mouth_r": r, "mouth_slope": slope}
        return Pair(driver.name, shown.name, scores, out)

    def _drift(self, driver: Person, shown: Person) -> float:
        vertices = np.asarray(self._decoded(shown.identity, driver.neutral, driver.frames["camera_position"][:1]))[0]
        return float(np.linalg.norm((vertices - shown.frames["neutral_vertices"][0])[self._face], axis=-1).mean())


def all_pairs(work: Driving, people: Sequence[Person], more: Callable[[Person, Person], dict[str, float]]) -> list[Pair]:
    """Everybody driven by everybody, driver by driver, with a progress bar; `more(driver, shown)` gives further scores."""
    found = []
    for driver, shown in tqdm.tqdm([(driver, shown) for driver in people for shown in people], desc="driving", unit="pair"):
        pair = work.pair(driver, shown)
        found.append(pair._replace(scores=pair.scores | more(driver, shown)))
    return found


def _driven(
    model: AvatarCodec, identity: IdentityCode, codes: jax.Array, position: jax.Array, neutral: Batch, *, surface: np.ndarray, texture: str
) -> tuple[jax.Array, jax.Array]:
    """One person with codes [B, ...] of another: the codes that come back, and meshes [B, V, 3]."""
    identity, neutral = repeated((identity, neutral), len(codes))
    primitives, vertices = model.decode(identity, codes, position)
    boxes = model.unshaded(jnp.mean(primitives.rgba[..., :3].astype(jnp.float32), axis=2), position)
    if texture == SEEN:
        depth = jnp.broadcast_to(2.0 / primitives.scale[..., 2], primitives.position.shape[:2])
        boxes = texels.seen_from_outside(primitives.rgba, depth, model.assembler.outward(model.vertices_mean[...]))
    colours = jnp.clip(texels.as_texture(boxes, model.sizes, model.sizes.texture), 0.0, 255.0)
    colours = jnp.where(surface[..., None], colours, neutral["neutral_texture"].astype(jnp.float32))
    return model.encode_expression(colours, vertices, neutral["neutral_texture"], neutral["neutral_vertices"])[0], vertices


def code_distance(codes: np.ndarray, back: np.ndarray) -> tuple[float, float]:
    """`code_error` and `code_found` of codes that came back, [F, ...] each, as the module defines them; NaN where all codes are one."""
    codes, back = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (codes, back))
    spread = np.sqrt(np.square(codes - codes.mean(0)).sum(1).mean())
    apart = np.linalg.norm(back[:, None] - codes[None], axis=-1)
    error = np.sqrt(np.square(np.diagonal(apart)).mean())
    return (float(error / spread) if spread > 0 else np.nan), float((apart.argmin(1) == np.arange(len(codes))).mean())


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Correlation of y with x, [F] each, and the slope of y against x; NaN where one of them is constant."""
    x, y = x - x.mean(), y - y.mean()
    squares, product = (x * x).sum(), (x * y).sum()
    scale = np.sqrt(squares * (y * y).sum())
    return (float(product / scale) if scale > 0 else np.nan), (float(product / squares) if squares > 0 else np.nan)


def means(pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Means over those who drive themselves ("own") and over those who drive others ("cross"), of scores that are there."""
    kinds: dict[str, Callable[[Pair], bool]] = {"own": lambda pair: pair.own, "cross": lambda pair: not pair.own}
    found = {}
    for kind, fits in kinds.items():
        values = {name: [pair.scores[name] for pair in pairs if fits(pair) and name in pair.scores] for name in names}
        found[kind] = {name: float(np.nanmean(of)) if of and not np.isnan(of).all() else np.nan for name, of in values.items()}
    return found
