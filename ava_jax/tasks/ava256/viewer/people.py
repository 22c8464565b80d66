"""Who can be shown: codes of people, computed when they are asked for."""

import functools
import pathlib
from typing import NamedTuple

import numpy as np

from ava_jax.core import names as naming
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import neutrals
from ava_jax.tasks.ava256.data.neutrals import Neutral
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.ava256.viewer.recordings import Recordings

_KEPT = 8  # people whose codes stay: 62 MB each at full size


class Person(NamedTuple):
    """What is drawn of somebody.

    Attributes:
      identity: the code, B = 1.
      neutral: f32 [4, 4, 16], the expression code of the neutral face.
      index: of the colour calibration; -1: the mean.
    """

    identity: IdentityCode
    neutral: np.ndarray
    index: int


class People:
    """Those whose neutral faces the run has, and those of the captures at hand."""

    def __init__(self, avatar: Avatar, folder: pathlib.Path, recordings: Recordings):
        """Computes nothing yet.

        Args:
          folder: the run's.
          recordings: of the captures at hand.

        Raises:
          ValueError: there is nobody.
        """
        held = neutrals.names(folder)
        self._avatar, self._recordings = avatar, recordings
        self._held = {name for name in avatar.identities if name in held}
        self.names = tuple(sorted(self._held | set(recordings.captures)))
        if not self.names:
            raise ValueError(
                f"{folder}: has no {neutrals.FILE}, and there are no captures at hand: nobody can be shown. Give --data=CAPTURES."
            )
        self._codes = functools.lru_cache(_KEPT)(self._encode)

    def __getitem__(self, name: str) -> Person:
        """The codes of one of `names`; what is computed is kept for the next time.

        Raises:
          ValueError: there is nobody of that name, or the neutral face cannot be read.
        """
        return self._codes(naming.pick("person", name, self.names))

    def _encode(self, name: str) -> Person:
        face = self._avatar.neutral(name) if name in self._held else Neutral(*self._recordings.neutral(name))
        known = self._avatar.identities.index(name) if name in self._avatar.identities else -1
        return Person(self._avatar.encode_identity(*face), np.asarray(self._avatar.encode(*face, *face))[0], known)
