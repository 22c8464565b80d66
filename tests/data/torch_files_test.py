import pickle

import numpy as np
import pytest

from ava_jax.data.torch_files import TorchFile
from ava_jax.data.torch_writer import write_state_dict

ARRAYS = {
    "module.a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1],
    "index": np.array([-1, 2**40], np.int64),
    "half": np.array([[0.5]], np.float16),
    "mask": np.array([True, False]),
    "scalar": np.float32(3.5),
    "empty": np.zeros((0, 3), np.float32),
    "nan": np.array([np.nan, np.inf, -0.0], np.float32),
}


def test_arrays_come_back_as_they_were(tmp_path):
    write_state_dict(tmp_path / "model.pt", ARRAYS)
    found = TorchFile(tmp_path / "model.pt")
    assert list(found.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        read = found.array(name)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == np.ascontiguousarray(array).tobytes()


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_state_dict(tmp_path / name, ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_torch_reads_it(tmp_path):
    torch = pytest.importorskip("torch")
    write_state_dict(tmp_path / "model.pt", ARRAYS)
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


def test_a_type_that_torch_lacks_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="name has values of <U1"):
        write_state_dict(tmp_path / "model.pt", {"name": np.array("x")})
    assert not list(tmp_path.iterdir())


def test_a_dict_that_python_2_pickled_is_read(tmp_path):
    """As published weights of before 2018 are: an OrderedDict made of a list of lists, in the container before PyTorch 1.6."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("7") + text("cuda:0") + b"K\x06NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(K\x02K\x03t(K\x03K\x01t\x89NtR"
    root = b"\x80\x02ccollections\nOrderedDict\n](](" + text("lin0.weight") + tensor + b"ee\x85R."
    header = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    values = np.arange(6, dtype=np.float32)
    content = [*header, root, pickle.dumps(["7"], 2), (6).to_bytes(8, "little"), values.tobytes()]
    (tmp_path / "old.pth").write_bytes(b"".join(content))
    found = TorchFile(tmp_path / "old.pth")
    assert list(found.tensors) == ["lin0.weight"]
    np.testing.assert_array_equal(found.array("lin0.weight"), values.reshape(2, 3))
