"""Scores of a batch, computed where the textures lie: on the device."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import Score
from ava_jax.tasks.multiface.model import avatar
from ava_jax.tasks.multiface.model.avatar import Answer, Avatar
from ava_jax.tasks.multiface.model.statistics import Statistics

CONSTANT = "constant"  # the baseline that always answers with the means
_DECLARED = (
    Score(
        "tex", False, digits=4, ratio=True, what="mean squared error of the normalised texture where it was seen; all texels in the mean"
    ),
    Score("vert", False, digits=4, ratio=True, what="mean squared error of the normalised vertices"),
    Score("tex_255", False, digits=2, ratio=True, what="tex in units of 0-255, as the published table has it"),
    Score("psnr", True, "dB", digits=2, what="of the texture, over the values that were seen"),
    Score("vert_mm", False, "mm", digits=3, what="mean distance of vertices"),
)
_SCREEN = Score(
    "screen", False, digits=4, what="mean squared error of the picture where the mesh is, over texture_std^2; all pixels in the mean"
)


def declared(config: ConfigDict) -> tuple[Score, ...]:
    """The scores of a run: that of the screen where the run learns from photographs."""
    return (*_DECLARED, _SCREEN) if needs_photographs(config) else _DECLARED


def needs_photographs(config: ConfigDict) -> bool:
    """Whether the loss looks at them; weights may be numbers or schedules."""
    weight = config.loss_weights.get("screen", 0.0)
    return not (isinstance(weight, int | float) and weight == 0)


def of_answer(model: Avatar, answer: Answer, batch: Batch) -> dict[str, jax.Array]:
    """Scores of a batch that has targets, [B] each; `screen` where it has photographs."""
    found = _of_parts(model.statistics, answer, batch)
    if "image" in batch:
        texture = model.statistics.raw_texture(answer.texture)
        error = model.screen.error(model.statistics.raw_vertices(answer.vertices), texture, batch)
        found["screen"] = error / jnp.square(model.statistics.texture_std[...])
    return found


def of_means(assets: Assets, size: int, batch: Batch) -> dict[str, np.ndarray]:
    """Scores of the constant answer, the capture's mean mesh and texture, [B] each."""
    statistics = Statistics(assets, size)

    def score(batch: Batch) -> dict[str, jax.Array]:
        vertices = jnp.zeros(jnp.shape(batch["vertices"]))
        nothing = jnp.zeros((len(vertices), 1))
        return _of_parts(statistics, Answer(vertices, jnp.zeros((len(vertices), size, size, 3)), nothing, nothing), batch)

    needed = {name: jnp.asarray(batch[name]) for name in ("texture", "vertices")}
    found = jax.jit(score)(needed)
    return {score.name: np.asarray(found[score.name]) for score in _DECLARED}  # jit sorts names


def _of_parts(statistics: Statistics, answer: Answer, batch: Batch) -> dict[str, jax.Array]:
    target, mask = statistics.texture(batch["texture"])
    tex = avatar.texture_error(answer, target, mask)
    variance = jnp.square(statistics.texture_std[...])
    offset = (answer.vertices - statistics.vertices(batch["vertices"])) * statistics.vertices_std[...]
    per_value = jnp.sum(jnp.square(mask * (answer.texture - target)), axis=(1, 2, 3)) / jnp.maximum(jnp.sum(mask, axis=(1, 2, 3)), 1.0)
    return {
        "tex": tex,
        "vert": avatar.vertex_error(answer, statistics.vertices(batch["vertices"])),
        "tex_255": tex * variance,
        "psnr": 10 * jnp.log10(255.0**2 / jnp.maximum(per_value * variance, 1e-10)),
        "vert_mm": jnp.mean(jnp.linalg.norm(offset, axis=-1), axis=-1),
    }


def on_host(found: dict[str, Array], config: ConfigDict) -> dict[str, np.ndarray]:
    """As `Task.score` gives them, [B] each: NaN for what was not computed."""
    count = len(np.asarray(found["tex"]))
    return {score.name: np.asarray(found[score.name]) if score.name in found else np.full(count, np.nan) for score in declared(config)}
