"""Somebody acting out expressions: a person, and codes from a driver's frames or from a file."""

import pathlib
from typing import NamedTuple

from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.names import near
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.apps import encoding, selection
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.people import People
from ava_jax.tasks.ava256.data import codes_file, strangers
from ava_jax.tasks.ava256.data.codes_file import Codes
from ava_jax.tasks.ava256.data.neutrals import Neutral


class Performance(NamedTuple):
    """What is shown.

    Attributes:
      person: whole name of who is shown.
      known: the same where training saw the person: whose colours to take; None: the mean of all.
      neutral: the person's neutral face, texture u8 [1, T, T, 3] and vertices f32 [1, V, 3], mm.
      driver: whose expressions: a capture's whole name, or a file's without its end.
      codes: in order.
      file_name: of files that show it, without an end.
    """

    person: str
    known: str | None
    neutral: Neutral
    driver: str
    codes: Codes
    file_name: str


def is_file(driver: str) -> bool:
    """Whether a driver is a file of codes by its name's end."""
    return pathlib.Path(driver).suffix.lower() in codes_file.SUFFIXES


def of_file(codes: Codes, name: str, segment: str, most: int) -> Codes:
    """Codes of a file: of a segment, or all for ""; `most` of them at most, evenly spaced, 0: all.

    Raises:
      ValueError: the file `name` has no such segment, with the nearest.
    """
    known = sorted(filter(None, set(codes.segment.tolist())))
    if segment and segment not in known:
        nearest = ", ".join(near(segment, known)) or "none"
        raise ValueError(f"--segment={segment}: {name} has none of that name; the nearest are {nearest}.")
    codes = codes.at(codes.segment == segment) if segment else codes
    return codes.at(thin(len(codes.codes), most))


def find(
    avatar: Avatar,
    captures: CaptureSet | None,
    config: ConfigDict,
    assets: Assets,
    *,
    identity: str = "",
    driver: str = "",
    segment: str = "",
    most: int = 0,
) -> Performance:
    """What the names say; each may be left empty.

    Args:
      captures: those at hand; None: people are the run's, and the driver must be a file.
      identity: who is shown; "" = the first.
      driver: a capture, or a file of codes; "" = the same person.
      segment: which of the driver's frames; "" = those held out from training, else all; of a file all.
      most: frames at most, evenly spaced; 0 = all.

    Raises:
      ValueError: a name is not there, with those nearest to it; or nothing can be read.
      OSError: a file cannot be read.
    """
    people = People(avatar, captures, config, assets)
    (person,) = people.named([identity or people.names[0]], "--identity")
    if captures is not None:
        strangers.check(captures, config, assets)
    if is_file(driver):
        acted, whose = of_file(codes_file.read(driver), driver, segment, most), pathlib.Path(driver).stem
    else:
        if captures is None or not (driver or person in captures.by_name):
            raise ValueError(f"--driver must name whose expressions {person} shows: a capture at hand (--data=FOLDER), or a file of codes.")
        capture = captures.find("--driver", driver) if driver else captures.by_name[person]
        frames = selection.frames(config, capture, segment)
        frames = frames[thin(len(frames), most)]
        acted, whose = encoding.encode(avatar, captures, config, assets, capture, frames), capture.name
    at_hand = captures.people if captures is not None else ()
    short = [selection.file_name(name, avatar.identities, at_hand) for name in dict.fromkeys((person, whose))]
    own = None if captures is None else captures.by_name.get(person)
    neutral = avatar.neutral(person) if own is None else Neutral(*encoding.neutral_face(captures, config, assets, own))
    known = person if person in avatar.identities else None
    return Performance(person, known, neutral, whose, acted, "_".join(filter(None, ["_by_".join(short), segment])))
