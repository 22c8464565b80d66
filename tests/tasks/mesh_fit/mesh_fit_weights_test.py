"""Published checkpoints: both containers, names of one's own, and files that are damaged, hostile or another model's."""

import json
import os
import pickle
import resource
import struct
import zipfile

import jax
import numpy as np
import pytest
from flax import nnx
from mesh_fit_published import Call, Made, Name, Saved, in_a_row, model_config, module, pickled, tensor, zipped

from ava_jax.core.types import Assets
from ava_jax.data import pickles, torch_files
from ava_jax.tasks.mesh_fit import reference_weights
from ava_jax.tasks.mesh_fit.model import MeshFitter

SIZES = {"hidden": 16, "latent": 4, "experts": 2}


def fresh(**changes) -> MeshFitter:
    return MeshFitter(model_config(**SIZES | changes), Assets({"faces": np.array([[0, 1, 2]])}, {}), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Under the published keys, in the published layouts, of a model of `SIZES`."""
    rng = np.random.default_rng(0)
    parameters = reference_weights.parameters(fresh())
    shapes = {key: parameters[name].shape for key, name in reference_weights.published_names().items()}
    return {key: rng.standard_normal(s[::-1] if key.endswith(".weight") else s).astype(np.float32) for key, s in shapes.items()}


CONTAINERS = {
    "zip": lambda arrays: zipped(module(arrays), arrays),
    "old": lambda arrays: in_a_row(module(arrays, old=True), arrays),
    "state dict": lambda arrays: zipped({key: tensor(key, array) for key, array in arrays.items()}, arrays),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_parameter_comes_out_of_each_container(container, weights, tmp_path):
    (tmp_path / "model.pt").write_bytes(CONTAINERS[container](weights))
    model = fresh()
    reference_weights.load(tmp_path / "model.pt", model)
    found = reference_weights.parameters(model)
    names = reference_weights.published_names()
    assert sorted(names.values()) == sorted(found) and len(names) == 20
    for key, name in names.items():
        expected = weights[key].T if key.endswith(".weight") else weights[key]
        np.testing.assert_array_equal(found[name][...], expected, err_msg=key)


def test_a_model_from_several_gpus_has_a_prefix(weights, tmp_path):
    wrapped = {f"module.{key}": array for key, array in weights.items()}
    (tmp_path / "model.pt").write_bytes(zipped(module(wrapped), wrapped))
    assert len(reference_weights.read(tmp_path / "model.pt", fresh())) == 20


def test_names_of_ones_own_from_json(weights, tmp_path):
    renamed = {f"net.{key.replace('encoder', 'enc')}": array for key, array in weights.items()}
    names = {f"net.{key.replace('encoder', 'enc')}": name for key, name in reference_weights.published_names().items()}
    (tmp_path / "model.pt").write_bytes(zipped(module(renamed), renamed))
    (tmp_path / "names.json").write_text(json.dumps(names))
    with pytest.raises(ValueError, match="lacks"):
        reference_weights.read(tmp_path / "model.pt", fresh())
    found = reference_weights.read(tmp_path / "model.pt", fresh(), reference_weights.read_names(tmp_path / "names.json"))
    np.testing.assert_array_equal(found["encoder/first/weight"], weights["encoder.fc1_prior.weight"].T)


def test_values_that_are_views_and_of_other_types(tmp_path):
    storage = np.arange(24, dtype=np.float32)

    def view(kind, key, *layout):
        saved = Saved(("storage", Name("torch", kind), key, "cpu", 24))
        return Call(Name("torch._utils", "_rebuild_tensor_v2"), (saved, *layout, False, {}))

    root = {"transposed": view("FloatStorage", "0", 2, (4, 3), (1, 4)), "half": view("HalfStorage", "1", 0, (24,), (1,))}
    root |= {"brain": view("BFloat16Storage", "2", 0, (2, 12), (12, 1)), "none": view("FloatStorage", "0", 0, (0, 3), (3, 1))}
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled(root))
        archive.writestr("a/data/0", storage.tobytes())
        archive.writestr("a/data/1", storage.astype(np.float16).tobytes())
        archive.writestr("a/data/2", (storage.view(np.uint32) >> 16).astype("<u2").tobytes())
    file = torch_files.TorchFile(tmp_path / "model.pt")
    np.testing.assert_array_equal(file.array("transposed"), storage[2:14].reshape(3, 4).T)
    np.testing.assert_array_equal(file.array("half"), storage)
    np.testing.assert_array_equal(file.array("brain"), storage.reshape(2, 12))  # up to 24 all are exact
    assert file.array("none").shape == (0, 3)


def one_line(call) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_counted_and_named(weights, tmp_path):
    changed = {key: array for key, array in weights.items() if key not in ("decoder.b0", "decoder.w2")}
    changed |= {"decoder.extra": np.zeros(2, np.float32), "encoder.fc1_prior.bias": np.zeros(3, np.float32)}
    (tmp_path / "model.pt").write_bytes(zipped(module(changed), changed))
    message = one_line(lambda: reference_weights.read(tmp_path / "model.pt", fresh()))
    assert "lacks 2 (decoder/experts/0/bias, decoder/experts/2/weight)" in message
    assert "has unused 1 (decoder.extra)" in message
    assert "has misshaped 1 (encoder.fc1_prior.bias (3,), not (16,))" in message


def test_a_model_that_does_not_fit_is_left_as_it_was(weights, tmp_path):
    (tmp_path / "model.pt").write_bytes(zipped(module(weights), weights))
    model = fresh(joints=4)
    before = jax.tree.map(np.asarray, nnx.state(model, nnx.Param))
    assert "misshaped 4" in one_line(lambda: reference_weights.load(tmp_path / "model.pt", model))
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model, nnx.Param))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value, weights, tmp_path):
    broken = weights | {"decoder.b1": np.full_like(weights["decoder.b1"], value)}
    (tmp_path / "model.pt").write_bytes(zipped(module(broken), broken))
    assert "decoder.b1 holds values that are not finite" in one_line(lambda: reference_weights.read(tmp_path / "model.pt", fresh()))


@pytest.mark.parametrize("text", ["[1]", '{"a": 1}', "{", '{"a": "decoder/experts/0/bias", "b": "decoder/experts/0/bias"}', "[" * 100_000])
def test_a_names_file_that_is_none(text, tmp_path):
    (tmp_path / "names.json").write_text(text)
    assert "names.json" in one_line(lambda: reference_weights.read_names(tmp_path / "names.json"))


def test_names_that_the_model_lacks(weights, tmp_path):
    (tmp_path / "model.pt").write_bytes(zipped(module(weights), weights))
    message = one_line(lambda: reference_weights.read(tmp_path / "model.pt", fresh(), {"decoder.b0": "decoder/b0"}))
    assert "decoder/b0" in message and "encoder/first/weight" in message


@pytest.mark.parametrize("container", ["zip", "old"])
def test_a_file_cut_anywhere_is_refused(container, weights, tmp_path):
    whole = CONTAINERS[container](weights)
    path, model = tmp_path / "model.pt", fresh()
    for length in [0, 1, 2, 10, 40, *np.linspace(60, len(whole) - 1, 40).astype(int)]:
        path.write_bytes(whole[:length])
        assert str(path) in one_line(lambda: reference_weights.read(path, model))


@pytest.mark.parametrize("container", ["zip", "old"])
def test_a_file_with_changed_bytes_is_refused_or_read(container, weights, tmp_path):
    whole = CONTAINERS[container](weights)
    path, model, rng = tmp_path / "model.pt", fresh(), np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert len(reference_weights.read(path, model)) == 20
        except ValueError as e:
            assert "\n" not in str(e) and str(path) in str(e)


def test_nothing_is_executed(weights, tmp_path):
    flag = tmp_path / "executed"
    run = Call(Name("os", "system"), (f"touch {flag}",))
    built = Call(Name("builtins", "eval"), (f"open({str(flag)!r}, 'w')",))
    state = module(weights).state | {"hook": run, "more": Made(Name("subprocess", "Popen"), {"args": ["touch", str(flag)]}), "b": built}
    for root, container in ((Made(Name("posix", "system"), state), zipped), (Made(run, state), zipped)):
        (tmp_path / "model.pt").write_bytes(container(root, weights))
        assert len(reference_weights.read(tmp_path / "model.pt", fresh())) == 20
    # As a whole, as text opcodes of protocol 0 write it, and by opcodes 'i' and 'o'.
    for program in (b"cos\nsystem\n(S'touch %s'\ntR.", b"(S'touch %s'\nios\nsystem\n.", b"(cos\nsystem\nS'touch %s'\no."):
        (tmp_path / "model.pt").write_bytes(zipped(program % str(flag).encode(), {}))
        assert "no named arrays" in one_line(lambda: reference_weights.read(tmp_path / "model.pt", fresh()))
    assert not flag.exists()
    # The same pickles do execute where they are trusted, so the test could fail.
    pickle.loads(b"cos\nsystem\n(S'touch %s'\ntR." % str(flag).encode())
    assert flag.exists()


DEEP = b")" + b"\x85" * 10_000  # a tuple in a tuple in a ...

HOSTILE = {
    "tuples 10,000 deep": DEEP + b".",
    "lists 10,000 deep": b"]" * 10_001 + b"a" * 10_000 + b".",
    "tuples 10,000 deep as a key": b"}" + DEEP + b"Ns.",
    "a memo entry of four billion": b"Nr\xff\xff\xff\xff.",
    "a text of 2**62 bytes": b"\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "bytes of 2**31": b"B" + struct.pack("<I", 2**31) + b"x.",
    "a number of 2**31 - 1 bytes": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
    "a number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "lists that double 60 times": b"]" + b"q\x00(h\x00h\x00e" * 60 + b".",
    "an extension": b"\x82\x01.",
    "an empty stack": b".",
    "a mark as a value": b"(.",
    "what is not in the memo": b"h\x07.",
    "no pickle": b"\xff\xfe\x00",
    "a name in two parts": b"\x8c\x01a\x93.",
    "a call of a number": b"K\x01)R.",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_take_no_memory_and_end_in_one_line(what, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (zipped(HOSTILE[what], {}), in_a_row(HOSTILE[what], {})):
        (tmp_path / "model.pt").write_bytes(data)
        one_line(lambda: torch_files.TorchFile(tmp_path / "model.pt"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_modules_that_hold_each_other_end(tmp_path):
    # A module whose part is itself, and a ladder whose every module holds the next one twice: 2^40 names.
    itself = b"cmodel\nNet\n)\x81q\x01}(X\x08\x00\x00\x00_modules}(X\x01\x00\x00\x00ah\x01uub."
    ladder = b"cmodel\nNet\n)\x81q\x00"
    for level in range(40):
        below = bytes([level])
        ladder += b"cmodel\nNet\n)\x81}(X\x08\x00\x00\x00_modules}(X\x01\x00\x00\x00ah" + below + b"X\x01\x00\x00\x00bh" + below
        ladder += b"uubq" + bytes([level + 1])
    for data in (itself, ladder + b"."):
        (tmp_path / "model.pt").write_bytes(zipped(data, {}))
        assert "hold each other" in one_line(lambda: torch_files.TorchFile(tmp_path / "model.pt"))


def claims(**changes):
    found = {"count": 4, "offset": 0, "shape": (2, 2), "strides": (2, 1), "type": Name("torch", "FloatStorage")} | changes
    saved = Saved(("storage", found["type"], "0", "cpu", found["count"]))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (saved, found["offset"], found["shape"], found["strides"], False, {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 2**40},
        {"count": -1},
        {"offset": 1},
        {"offset": -1},
        {"shape": (2**30, 2**30), "strides": (0, 0)},
        {"shape": (2,), "strides": (4,)},
        {"shape": (2, 2, 2)},
        {"strides": (-2, 1)},
        {"type": Name("torch", "Storage")},
        {"type": Name("os", "FloatStorage")},
        {"shape": ("a", 2)},
        {"shape": 4},
    ],
    ids=str,
)
def test_tensors_that_claim_more_than_there_is(changes, tmp_path):
    (tmp_path / "model.pt").write_bytes(zipped({"x": claims(**changes)}, {"0": np.ones(4, np.float32)}))
    one_line(lambda: torch_files.TorchFile(tmp_path / "model.pt").array("x"))


def test_other_files(tmp_path):
    path = tmp_path / "model.pt"
    for data in (b"", b"PK\x03\x04", b"\x80\x02}.", b"#!/bin/sh\n", os.urandom(1000), zipped({"x": claims()}, {}, zipfile.ZIP_DEFLATED)):
        path.write_bytes(data)
        one_line(lambda: torch_files.TorchFile(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled({}))
        archive.writestr("b/data.pkl", pickled({}))
    assert "there are 2" in one_line(lambda: torch_files.TorchFile(path))
    with pytest.raises(FileNotFoundError):
        torch_files.TorchFile(tmp_path / "none.pt")


def test_a_file_larger_than_any_model_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "model.pt").write_bytes(zipped({"x": claims()}, {"0": np.ones(400, np.float32)}))
    assert "larger" in one_line(lambda: torch_files.TorchFile(tmp_path / "model.pt", most_bytes=1000))


def test_a_pickle_without_end_is_cut(monkeypatch, tmp_path):
    monkeypatch.setattr(pickles, "_MOST_OPCODES", 100)
    (tmp_path / "model.pt").write_bytes(zipped(b"N" * 200 + b".", {}))
    assert "over 100 opcodes" in one_line(lambda: torch_files.TorchFile(tmp_path / "model.pt"))
