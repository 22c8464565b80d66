"""Keypoint error (AKD) and identity similarity (CSIM) of driven pictures, by networks of the user's own.

akd   px of the pictures: mean distance of a network's keypoints in the render from those in the photograph of the same frame, of people
      who drive themselves (of others there is no photograph).
csim  mean cosine of a network's features of the render and of a photograph of the person shown: of the same frame where somebody drives
      himself, else of the person's first frame.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ava_jax.tasks.ava256.apps import driving
from ava_jax.tasks.ava256.evaluation.driving_scores import Person, parts, repeated
from ava_jax.tasks.base import Compile, Score
from ava_jax.viz import colours

AKD, CSIM = Score("akd", False, "px"), Score("csim", True, digits=3)
DEFINITIONS = (__doc__ or "").partition("\n\n")[2]
KEYPOINTS, FEATURES = "--keypoints", "--identity_features"
Network = Callable[[np.ndarray], Any]


@dataclasses.dataclass(frozen=True)
class Networks:
    """What a user gives: u8 [B, H, W, 3] to keypoints [B, K, 2], pixels, and to features [B, D]; None: it is not measured."""

    keypoints: Network | None = None
    features: Network | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """What is measured."""
        return (*((AKD,) if self.keypoints else ()), *((CSIM,) if self.features else ()))

    @property
    def left_out(self) -> list[str]:
        """A line for each score that is not."""
        found = [] if self.keypoints else [f"akd is left out: {KEYPOINTS}=module:function names no network"]
        return found + ([] if self.features else [f"csim is left out: {FEATURES}=module:function names no network"])

    def scorer(self, compile_model: Compile, batch_size: int) -> Callable[[Person, Person], dict[str, float]]:
        """A function of driver and shown that gives their scores, in the driver's view.

        It raises ValueError where a network's answer has another shape than it must.
        """
        draw = compile_model(driving.drive)

        def score(driver: Person, shown: Person) -> dict[str, float]:
            if not self.scores:
                return {}
            pictures = []
            for batch, count in parts(driver.frames, batch_size):
                who, code = repeated((shown.frames["identity"][:1], shown.identity), len(batch["identity"]))
                pictures.append(np.asarray(colours.to_u8(draw(code, who, batch)))[:count])
            return self._score(np.concatenate(pictures), driver, shown)

        return score

    def _score(self, renders: np.ndarray, driver: Person, shown: Person) -> dict[str, float]:
        """Of renders u8 [F, H, W, 3], one per frame of the driver."""
        found, photographs, own = {}, driver.frames["image"], driver is shown
        if self.keypoints and own:
            a, b = (
                _asked(KEYPOINTS, self.keypoints, x, "[B, K, 2]", lambda at: at.ndim == 3 and at.shape[2] == 2)
                for x in (renders, photographs)
            )
            found[AKD.name] = float(np.linalg.norm(a - b, axis=-1).mean())
        if self.features:
            theirs = photographs if own else shown.frames["image"][:1]
            a, b = (_asked(FEATURES, self.features, x, "[B, D]", lambda at: at.ndim == 2) for x in (renders, theirs))
            norms = np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12)
            found[CSIM.name] = float(((a * b).sum(-1) / norms).mean())
        return found


def _asked(flag: str, network: Network, pictures: np.ndarray, shape: str, fits: Callable[[np.ndarray], bool]) -> np.ndarray:
    """A network's answer, f64."""
    answer = np.asarray(network(pictures), np.float64)
    if not fits(answer) or len(answer) != len(pictures):
        raise ValueError(f"{flag}: for u8 {list(pictures.shape)} it must give {shape}, B = {len(pictures)}; got {list(answer.shape)}.")
    return answer
