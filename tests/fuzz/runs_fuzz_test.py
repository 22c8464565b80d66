"""Readers of what runs and mesh fitting write and take, fuzzed as `readers_fuzz_test.py` does."""

import io
import json
import pathlib
import struct
import zipfile

import hypothesis
import numpy as np
import pytest
import readers
from hypothesis import example, given
from hypothesis import strategies as st
from mesh_fit_published import in_a_row, module, tensor, zipped
from readers import JSON, mutated, named, npy, outcome, written

from ava_jax.data import torch_files
from ava_jax.tasks.mesh_fit import reference_weights
from ava_jax.tasks.mesh_fit.data import sequences
from ava_jax.train import config as configs
from ava_jax.train import manifest

pytestmark = pytest.mark.filterwarnings("ignore")
_ROWS = npy(np.zeros((4, 3), np.float32))


# Configs and manifests.

_CONFIG = {"task": "a:B", "data": {"root": "x", "cameras": ["1"]}, "train": {"steps": 3}}


@given(st.one_of(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.just(_CONFIG)))
@example({"a": float("nan"), "b": [float("nan")]})
@example({"a.b": 1})
@example({".\n": None})
@example({"": {}})
@example({"a": [{"b": [1, "x"]}]})
def test_configs(tree):
    found = outcome("config", lambda: named(configs.from_json)(tree), "x")
    if found is not None:
        assert configs.differences(found, found) == []
        assert repr(configs.to_json(configs.from_json(configs.to_json(found)))) == repr(configs.to_json(found))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[pathlib.Path, bytes]:
    made = tmp_path_factory.mktemp("checkpoint")
    (made / "model").mkdir()
    (made / "model" / "a").write_bytes(b"content")
    manifest.write(made)
    return made, (made / manifest.NAME).read_bytes()


@given(data=st.data())
def test_manifests(checkpoint, data):
    made, sound = checkpoint
    entry = st.fixed_dictionaries({}, optional={"size": st.one_of(st.just(7), JSON), "sha256": JSON})
    names = st.one_of(st.sampled_from(["model/a", "../x", "/etc/passwd", "a\0b", "", "\n"]), st.text(max_size=8))
    tree = st.fixed_dictionaries({}, optional={"files": st.one_of(st.dictionaries(names, entry, max_size=3), JSON)})
    content = data.draw(st.one_of(mutated([sound]), tree.map(lambda t: json.dumps(t).encode()), st.just(b"[" * 10_000), st.just(sound)))
    (made / manifest.NAME).write_bytes(content)
    outcome("manifest", lambda: manifest.verify(made), "")


# Mesh fitting's files.

_WEIGHTS = {"encoder.a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "encoder.a.bias": np.zeros(2, np.float32)}
_TORCH = [zipped(module(_WEIGHTS), _WEIGHTS), in_a_row(module(_WEIGHTS, old=True), _WEIGHTS)]
_TORCH += [zipped({key: tensor(key, array) for key, array in _WEIGHTS.items()}, _WEIGHTS)]


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    file = torch_files.TorchFile(path)
    return {name: file.array(name) for name in file.tensors}


@given(mutated(_TORCH))
def test_torch_files(folder, data):
    path = written(folder, "model.pt", data)
    outcome("torch file", lambda: _arrays(path), path.name)


def _opcodes() -> st.SearchStrategy[bytes]:
    import pickletools

    codes = [op.code.encode("latin-1") for op in pickletools.opcodes]
    argument = st.one_of(
        st.just(b""), st.binary(max_size=6), st.sampled_from([b"torch\nFloatStorage\n", b"1\n", b"\x01", struct.pack("<I", 3) + b"abc"])
    )
    return st.lists(st.builds(bytes.__add__, st.sampled_from(codes), argument), max_size=40).map(b"".join)


@given(_opcodes())
@example(b"(" * 1000 + b"t" * 1000 + b".")
@example(b"]" + b"2" * 1000 + b".")
def test_pickles(folder, program):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr("a/data.pkl", b"\x80\x02" + program + b".")
    path = written(folder, "model.pt", buffer.getvalue())
    assert outcome("pickle", lambda: _arrays(path), path.name) is None


@given(
    st.one_of(JSON.map(lambda tree: json.dumps(tree).encode()), mutated([b'{"a.weight": "encoder/first/weight"}']), st.just(b"[" * 20_000))
)
@example(b'\xef\xbb\xbf{"a.weight": "encoder/first/weight"}')
def test_names_of_weights(folder, data):
    path = written(folder, "names.json", data)
    found = outcome("names of weights", lambda: reference_weights.read_names(path), path.name)
    assert found is None or all(isinstance(name, str) for name in found.values())


@given(
    st.one_of(JSON.map(lambda tree: json.dumps(tree).encode()), mutated([b'{"version": 1, "files": [["a.obj", 3, 4]]}'])),
    mutated([_ROWS]),
)
@example(b'{"version": 1, "files": [["a.obj", 3, 4]]}', _ROWS)
def test_a_damaged_cache_is_none(folder, record, vertices):
    written(folder, "record.json", record)
    written(folder, "vertices.npy", vertices)
    written(folder, "faces.npy", _ROWS)
    fresh = outcome("cache of meshes", lambda: sequences._is_fresh(folder, {"version": 1, "files": [["a.obj", 3, 4]]}), "")
    assert fresh is False  # its vertices are not [F, V, 3]


def test_the_profile_is_the_quick_one_unless_asked():
    import os

    assert hypothesis.settings.get_current_profile_name() == os.environ.get("AVA_FUZZ", "quick") and readers.SECONDS == 10
