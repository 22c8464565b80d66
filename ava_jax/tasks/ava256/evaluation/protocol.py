"""What an evaluation scored and how: enough to repeat its numbers, and to tell whether two of them may stand in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from ava_jax.captures import camera_table
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import TRAIN
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import rules
from ava_jax.tasks.base import NOT_SEEN, Protocol, Row, Score


def describe(
    captures: CaptureSet, config: ConfigDict, assets: Assets, scores: Sequence[Score], rows: Mapping[str, Sequence[Row]], networks: str
) -> Protocol:
    """The protocol of an evaluation.

    Args:
      captures: at hand.
      config: the run's.
      assets: the run's.
      scores: that were computed.
      rows: split -> what `sample_rows.describe` says of each image that was scored.
      networks: a line on LPIPS.
    """
    height, width = captures.image_size(config.data.downsample)
    lines = [f"images {height} x {width} (downsample {config.data.downsample}), values 0-255 as in the files; renders clipped to 0-255"]
    splits = {split: _split(captures, config, assets, found) for split, found in rows.items()}
    rule = str(rules.scored(config)) if rules.splits_of(rules.scored(config)) == ("selected",) else ""
    for split, found in splits.items():
        people = found["people"].values()
        cameras = {camera for one in people for camera in one["cameras"]}
        frames = sum(len(one["frames"]) for one in people)
        what = f"{split} ({rule})" if rule else split
        counted = f"{found['images']} images of {_many(len(people), 'person', 'people')}, {_many(len(cameras), 'camera')}"
        lines.append(f"{what}: {counted}, {_many(frames, 'frame')}; {found['trained_on']} of the images are of the run's training split")
    lines.append(networks)
    details = {
        **{"lines": lines, "image_size": [height, width], "downsample": config.data.downsample, "captures": str(captures.root)},
        **{"rule": rule or config.eval.get(rules.HELD_OUT_BY, "") or "held out of training", "lpips": networks, "splits": splits},
        "scores": {score.name: score.what for score in scores},
    }
    return Protocol(tuple(lines), details)


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _split(captures: CaptureSet, config: ConfigDict, assets: Assets, rows: Sequence[Row]) -> dict[str, Any]:
    """Counts of a split's images, and of each person the cameras and frames, whose images may lack some pairs."""
    trained = _trained_on(captures, config, assets)
    people: dict[str, dict[str, set]] = {}
    seen = 0
    for row in rows:
        name = row["identity"].removesuffix(NOT_SEEN)
        one = people.setdefault(name, {"cameras": set(), "frames": set()})
        one["cameras"].add(row["camera"])
        one["frames"].add(row["frame"])
        cameras, frames = trained.get(name, ((), ()))
        seen += row["camera"] in cameras and row["frame"] in frames
    lists = {name: {kind: sorted(values) for kind, values in one.items()} for name, one in sorted(people.items())}
    return {"images": len(rows), "trained_on": seen, "people": lists}


def _trained_on(captures: CaptureSet, config: ConfigDict, assets: Assets) -> dict[str, tuple[set[str], set[int]]]:
    """Of each person the cameras and the frames' numbers that the run was trained on."""
    rule, found = rules.held_out(config), {}
    for capture in captures:
        if capture.name in assets.names["identities"] and rule.trains(capture):
            cameras, frames = rule.select(capture, TRAIN)
            known = {str(camera) for camera in camera_table.known(capture, assets.names["cameras"])}
            used = {str(capture.cameras[i]) for i in cameras} & known
            found[capture.name] = used, {int(capture.frames[i]) for i in frames}
    return found
