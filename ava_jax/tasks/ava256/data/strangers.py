"""Captures at hand, held against a trained run: who and what is new to it, and what it can make nothing of."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import camera_table, kept_statistics, statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core import binding
from ava_jax.core.types import Assets
from ava_jax.data import mesh_files
from ava_jax.tasks.ava256.data import rules
from ava_jax.tasks.base import AtHand

_TOPOLOGY = ("faces", "face_uvs", "uvs")
_FAR = 10.0  # times the deviation of the run's vertices: faces of people, in mm and with one order of vertices, lie within two or three


def check(captures: CaptureSet, config: ConfigDict, assets: Assets) -> AtHand:
    """Names of the captures, and a line each on people and cameras that were not seen in training.

    Files that predictions need not have, topology and means, are looked at where they are there.

    Raises:
      ValueError: the topology is another; or the captures are the run's by name, but have other statistics; or a stranger's mean face is
        none in millimetres with the run's order of vertices; or what is to be scored is of nothing in them.
    """
    _check_topology(captures, assets)
    rules.require_scored(captures, config)
    people = captures.people
    trained = rules.trained(captures, config)
    if set(trained.people) == set(assets.names["identities"]):
        _check_statistics(trained, config, assets)
    new = [capture for capture in captures if capture.name not in assets.names["identities"]]
    for capture in new:
        _check_mean(capture, assets)
    notes = []
    if new:
        how = "encoded from their neutral faces, in the mean colour calibration and without a background; scored over the face alone"
        notes.append(f"not seen in training: {binding.listed([capture.name for capture in new])}: {how}")
    rule = rules.held_out(config)
    known = {name for capture in captures for name in camera_table.known(capture, assets.names["cameras"])}
    cameras = captures.cameras - known - {*rule.cameras, *rule.test.cameras}
    if cameras:
        how = "in the mean colour calibration and without a background; scored over the face alone"
        notes.append(f"cameras not seen in training: {binding.listed(sorted(cameras))}: {how}")
    return AtHand(people, tuple(notes))


def _check_topology(captures: CaptureSet, assets: Assets) -> None:
    if not captures.topology.is_file():
        return
    vertices = len(assets.arrays["vertices_mean"])
    topology = mesh_files.read_topology(captures.topology, vertices)
    here = Assets({name: getattr(topology, name) for name in _TOPOLOGY}, {})
    if other := binding.arrays_that_differ(Assets({name: assets.arrays[name] for name in _TOPOLOGY}, {}), here):
        raise ValueError(
            f"{captures.topology}: must be the topology that the run was trained with; {', '.join(other)}. "
            "Meshes of another one mean nothing to this model."
        )


def _check_statistics(captures: CaptureSet, config: ConfigDict, assets: Assets) -> None:
    if not all(path.is_file() for capture in captures for path in _means(capture)):
        return
    combined = statistics.combine(captures.captures, config.model.texture_size, folder=kept_statistics.default_folder())
    here = Assets(combined._asdict(), {})
    if other := binding.arrays_that_differ(assets, here):
        raise ValueError(
            f"{captures.root}: has captures by the names of the run's people with other statistics ({', '.join(other)}): they are other "
            "people, or were tracked anew. Give those that the run was trained with."
        )


def _check_mean(capture: Capture, assets: Assets) -> None:
    mesh = _means(capture)[0]
    if not mesh.is_file():
        return
    (mean,) = statistics.vertex_means([mesh])
    known = np.asarray(assets.arrays["vertices_mean"])
    if mean.shape != known.shape:
        raise ValueError(f"{mesh}: must have {len(known)} vertices as the run's meshes; it has {len(mean)}.")
    distance = float(np.sqrt(np.square(mean - known).sum(-1).mean()))
    allowed = _FAR * float(np.sqrt(3.0) * assets.arrays["vertices_std"])
    if not distance <= allowed:
        raise ValueError(
            f"{mesh}: lies {distance:.0f} mm from the mean of the run's meshes, and {allowed:.0f} would be far: not in mm, or vertices in "
            "another order."
        )


def _means(capture: Capture) -> tuple[pathlib.Path, ...]:
    """The files that the statistics are combined of, the mean mesh first."""
    return capture.vertices_mean, capture.vertices_variance, capture.texture_mean
