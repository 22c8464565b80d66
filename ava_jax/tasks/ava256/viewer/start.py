"""A run's folder to a viewer that is ready to serve."""

import pathlib
import sys
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.data.remote import location
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import codes_file, strangers
from ava_jax.tasks.ava256.viewer import components, drawing
from ava_jax.tasks.ava256.viewer.components import Components
from ava_jax.tasks.ava256.viewer.eyes import Eye
from ava_jax.tasks.ava256.viewer.people import People
from ava_jax.tasks.ava256.viewer.pipeline import Pipeline
from ava_jax.tasks.ava256.viewer.recordings import Recordings
from ava_jax.tasks.ava256.viewer.server import Server
from ava_jax.tasks.ava256.viewer.session import Wanted
from ava_jax.tasks.base import Compile
from ava_jax.tasks.command import Context

_PARTS = {"cpu": 8}  # tiles along a picture's side, by backend; others draw whole pictures


class Viewer:
    """All that a page shows."""

    def __init__(self, avatar: Avatar, pipeline: Pipeline, people: People, recordings: Recordings, found: Components):
        self.avatar, self.pipeline, self.people, self.recordings, self.components = avatar, pipeline, people, recordings, found
        self._servers: list[Server] = []
        front = avatar.portrait(2, 2)
        self._posed = pipeline.warm_up(Wanted(people.names[0], Eye(front.rotation[0], front.position[0].astype(np.float64), 0.4, 1.5)))

    def warm_layers(self) -> None:
        """Compiles what the page does not show at first."""
        self.pipeline.warm_layers(self._posed)

    def serve(self, host: str, port: int, token: str) -> Server:
        """Opens the page; as `Server`."""
        opened = Server(self.avatar, self.pipeline, self.people, self.recordings, self.components, host=host, port=port, token=token)
        self._servers.append(opened)
        self.pipeline.start()
        return opened

    def stop(self) -> None:
        """Ends pages and threads."""
        for opened in self._servers:
            opened.stop()
        self.pipeline.stop()


def prepare(
    context: Context, workdir: str | None, step: str | None, *, data: str | None = None, codes: str | None = None, longer: int = 1024
) -> Viewer:
    """Restores a run, finds its recordings and sliders, and compiles the first picture.

    Args:
      workdir, step: as `Context.restore`.
      data: folder of captures; None: that of the run, where it is there.
      codes: file of expression codes.
      longer: as `Pipeline`.

    Raises:
      FileNotFoundError, ValueError: something named is not there, or does not fit.
    """
    recorded = None if codes is None else codes_file.read(codes)
    config, assets, task, model, step = context.restore(workdir, step, overrides={"data.root": data})
    folder, compile_model = pathlib.Path(workdir).expanduser(), context.compile(model)
    avatar = Avatar(compile_model, config, assets, folder, step)
    captures = _captures(task, config, named=data is not None)
    if captures is not None:
        strangers.check(captures, config, assets)
    recordings = Recordings(avatar, captures, config, assets, recorded)
    people = People(avatar, folder, recordings)
    found = _components(compile_model, recordings, recorded, people, folder, step)
    drawer = drawing.Drawer(compile_model, avatar.topology, avatar.middle)
    pipeline = Pipeline(avatar, people, drawer, longer=longer, parts=_PARTS.get(jax.default_backend(), 1))
    return Viewer(avatar, pipeline, people, recordings, found)


def _captures(task: Any, config: ConfigDict, *, named: bool) -> CaptureSet | None:
    """The captures at hand; None, with a line, where the run's own are gone."""
    root = config.data.root
    if named or (root and (location.is_url(root) or pathlib.Path(root).expanduser().is_dir())):
        return task.captures
    if root:
        print(f"captures {root} are not there (--data=CAPTURES names others): no recordings of theirs", file=sys.stderr)
    return None


def _components(
    compile_model: Compile, recordings: Recordings, recorded: codes_file.Codes | None, people: People, folder: pathlib.Path, step: int
) -> Components:
    """Of the captures at hand, or of the file of codes, or of the prior."""
    if recordings.captures:
        return components.of_captures(recordings, folder, step)
    if recorded is not None:
        return components.of_codes(recorded.codes, components.CODES)
    person = people[people.names[0]]
    mesh = compile_model(lambda model, identity, codes, position: _mesh(model, identity, codes, position))
    return components.of_prior(lambda codes: np.asarray(mesh(person.identity, codes, np.array([[0.0, 0.0, 1000.0]], np.float32))))


def _mesh(model: Any, identity: Any, codes: jax.Array, position: jax.Array) -> jax.Array:
    """Vertices alone: the compiler leaves out what decodes colours."""
    one = [jax.tree.map(lambda x: jax.numpy.broadcast_to(x, (len(codes), *x.shape[1:])), part) for part in (identity, position)]
    return model.decode(one[0], codes, one[1]).vertices
