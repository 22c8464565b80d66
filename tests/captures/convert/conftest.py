"""A small recording of a rig, the capture that is synthesised of the same head, and the conversion of the first."""

import pathlib

import pytest

from ava_jax.captures.convert import converting
from ava_jax.captures.convert.request import Request
from ava_jax.synth import ava256_layout, rig_layout
from ava_jax.synth.ava256_request import Request as Synthetic

SMALL = Synthetic(identities=1, frames=3, cameras=5, height=128, texture_size=128)


@pytest.fixture(scope="session")
def rig(tmp_path_factory) -> pathlib.Path:
    """COLMAP's cameras with distortion, images, masks, OBJ meshes in metres."""
    folder = tmp_path_factory.mktemp("own_rig") / "rig"
    rig_layout.write(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def direct(tmp_path_factory) -> pathlib.Path:
    """The captures folder of the same head, rendered without lenses."""
    folder = tmp_path_factory.mktemp("own_rig_direct") / "captures"
    ava256_layout.write(folder, SMALL, jobs=1)
    return folder


@pytest.fixture(scope="session")
def ask(rig):
    """Makes a request of the recording; its arguments override."""

    def make(out: pathlib.Path, **changes) -> Request:
        usual = {"rig": rig, "meshes": rig / "meshes", "topology": rig / "topology.obj", "template": rig / "topology.obj"}
        usual |= {"segments": rig / "segments.csv", "scale": 1000.0, "texture_size": 128, "subject": "SYN001", "out": out}
        return Request(**usual | changes)

    return make


@pytest.fixture(scope="session")
def converted(tmp_path_factory, ask) -> converting.Converted:
    """The conversion of the recording."""
    return converting.convert(ask(tmp_path_factory.mktemp("own_rig_converted") / "captures"), say=lambda line: None)
