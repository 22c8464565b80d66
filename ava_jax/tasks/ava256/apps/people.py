"""People to be shown: found by name, encoded once each."""

from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.names import near
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.apps import encoding
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.model.encoders import IdentityCode

ALL = "all"


class Person(NamedTuple):
    """Somebody who can be shown.

    Attributes:
      name: of the capture.
      code: B = 1.
      known: the name, where training saw the person: whose colour calibration and background to take. None: the mean of all.
    """

    name: str
    code: IdentityCode
    known: str | None


class People:
    """Identity codes by name, each computed once and kept in memory.

    They are not kept on disk: at full size one has 31 MB (62 in float32), where the neutral face has 180 KB, lies in the run's folder
    already, and becomes the code in half a second of a CPU core.
    """

    def __init__(self, avatar: Avatar, captures: CaptureSet | None, config: ConfigDict, assets: Assets) -> None:
        """Encodes nobody yet.

        Args:
          captures: those at hand; None: people are those that were trained on, from the run's folder.
        """
        self._avatar, self._captures, self._config, self._assets = avatar, captures, config, assets
        self._kept: dict[str, Person] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody at hand."""
        return self._avatar.identities if self._captures is None else self._captures.people

    def named(self, names: Sequence[str], flag: str = "--people") -> list[str]:
        """Whole names of people: of captures' folders, or subjects' ids; "all" or "all:6" is everybody, or the first six.

        Raises:
          ValueError: one is not there, with those nearest to it; or a subject has several captures.
        """
        found = []
        for name in names:
            word, _, count = name.partition(":")
            if word == ALL and (not count or (count.isdecimal() and int(count) > 0)):
                found += self.names[: int(count) if count else None]
            elif self._captures is not None and (name in self._captures.people or self._is_subject(name)):
                found.append(self._captures.find(flag, name).name)
            else:
                found.append(self._trained(name, flag))
        return list(dict.fromkeys(found))

    def __call__(self, name: str) -> Person:
        """Somebody by the whole name.

        Raises:
          ValueError: the neutral face cannot be read.
        """
        if name not in self._kept:
            capture = None if self._captures is None else self._captures.by_name.get(name)
            if capture is None:
                face = self._avatar.neutral(name)
            else:
                face = encoding.neutral_face(self._captures, self._config, self._assets, capture)
            known = name if name in self._avatar.identities else None
            self._kept[name] = Person(name, self._avatar.encode_identity(*face), known)
        return self._kept[name]

    def _is_subject(self, name: str) -> bool:
        return any(capture.subject == name for capture in self._captures)

    def _trained(self, name: str, flag: str) -> str:
        """The whole name of somebody whose capture is not at hand, and who was trained on."""
        subjects = {one: one.rpartition("--")[2] for one in self._avatar.identities}
        found = [one for one, subject in subjects.items() if name in (one, subject)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{flag}={name}: {len(found)} captures are of that subject, {', '.join(found)}: name one of them.")
        every = {*subjects.values(), *(one.rpartition("--")[2] for one in self.names)}
        raise ValueError(f"{flag}={name}: there is none of that name; of {len(every)}, the nearest are {', '.join(near(name, every))}.")
