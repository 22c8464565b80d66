"""FLAME's formula and files, on a small stand-in model: FLAME itself is licensed and not at hand."""

import collections
import pathlib
import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.transform import Rotation

from ava_jax.captures.convert import flame
from ava_jax.core.mesh import Topology

COUNT = 60


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A model of 60 vertices, with 6 of shape and 4 of expression."""
    rng = np.random.default_rng(seed)
    weights = rng.random((COUNT, 5)) ** 4
    regressor = rng.random((5, COUNT)) * (rng.random((5, COUNT)) < 0.2)
    return {
        "v_template": rng.normal(0, 0.08, (COUNT, 3)),
        "shapedirs": rng.normal(0, 0.004, (COUNT, 3, 10)),
        "posedirs": rng.normal(0, 0.001, (COUNT, 3, 36)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "f": rng.permuted(np.tile(np.arange(COUNT), (20, 1)), axis=1)[:, :3],
    }


def one_by_one(model: dict[str, np.ndarray], p: dict[str, np.ndarray]) -> np.ndarray:
    """The formula written out vertex by vertex, a chain of joints at a time."""
    rest = model["v_template"].copy()
    for i, value in enumerate(p["shape"]):
        rest += model["shapedirs"][:, :, i] * value
    for i, value in enumerate(p["expr"]):
        rest += model["shapedirs"][:, :, 5 + i] * value
    joints = model["J_regressor"] @ rest
    turns = [
        Rotation.from_rotvec(v).as_matrix() for v in (p["rotation"], p["neck_pose"], p["jaw_pose"], p["eyes_pose"][:3], p["eyes_pose"][3:])
    ]
    rest = rest + p["static_offset"][:COUNT]
    feature = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    rest = rest + model["posedirs"] @ feature
    chains = ([0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 4])
    out = np.zeros_like(rest)
    for vertex in range(COUNT):
        for joint, chain in enumerate(chains):
            point = rest[vertex]
            for link in reversed(chain):
                point = turns[link] @ (point - joints[link]) + joints[link]
            out[vertex] += model["weights"][vertex, joint] * point
    return out + p["translation"]


def parameters(seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    angles = {name: rng.normal(0, 0.3, size) for name, size in (("rotation", 3), ("neck_pose", 3), ("jaw_pose", 3), ("eyes_pose", 6))}
    more = {"shape": rng.normal(0, 1, 5), "expr": rng.normal(0, 1, 3), "translation": rng.normal(0, 1, 3)}
    return angles | more | {"static_offset": rng.normal(0, 0.002, (COUNT + 7, 3))}


def test_it_is_linear_blend_skinning():
    model, values = arrays(), parameters()
    np.testing.assert_allclose(flame.FlameModel(model).vertices(values), one_by_one(model, values), atol=1e-12)
    np.testing.assert_allclose(flame.FlameModel(model).vertices({}), model["v_template"], atol=1e-12)
    batched = {name: value[None] for name, value in values.items() if name != "shape"} | {"shape": values["shape"]}  # as VHAP writes them
    np.testing.assert_allclose(flame.FlameModel(model).vertices(batched), one_by_one(model, values), atol=1e-12)


def test_a_pickle_with_a_sparse_matrix_and_wrappers_gives_the_same_model(tmp_path):
    model = arrays()
    for matrix in (sparse.csc_matrix, sparse.csr_matrix):
        stored = model | {"J_regressor": matrix(model["J_regressor"]), "bs_style": "lbs", "extra": collections.OrderedDict(a=1)}
        path = tmp_path / "flame.pkl"
        path.write_bytes(pickle.dumps(stored, protocol=2))
        np.testing.assert_allclose(flame.load(path).vertices(parameters()), one_by_one(model, parameters()), atol=1e-12)
    np.savez(tmp_path / "flame.npz", **model)
    np.testing.assert_allclose(flame.load(tmp_path / "flame.npz").vertices(parameters()), one_by_one(model, parameters()), atol=1e-12)


class Bomb:
    """Writes a file when it is unpickled the usual way."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.write_text, (self.path, "gone")


def test_a_pickle_runs_nothing(tmp_path):
    target = tmp_path / "harm.txt"
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps(arrays() | {"harm": Bomb(target)}))
    flame.load(path)
    assert not target.exists()
    path.write_bytes(pickle.dumps(arrays() | {"weights": Bomb(target)}))
    with pytest.raises(ValueError, match=r"flame.pkl: no FLAME model that can be read \(ValueError: an entry is neither"):
        flame.load(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()  # the bomb is one


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"cos\nsystem\n(S'true'\ntR.", pickle.dumps({"v_template": 1})])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "flame.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="flame.pkl: no FLAME model"):
        flame.load(path)


def test_wrong_sizes_are_named(tmp_path):
    with pytest.raises(ValueError, match="FLAME model: weights must fit"):
        flame.FlameModel(arrays() | {"weights": np.zeros((COUNT, 4))})
    model = flame.FlameModel(arrays())
    for wrong, words in (({"jaw_pose": np.zeros(6)}, "jaw_pose must have 3"), ({"shape": np.zeros(9)}, "the model has 5 of shape")):
        with pytest.raises(ValueError, match=words):
            model.vertices(wrong)
    np.savez(tmp_path / "00001.npz", **(parameters() | {"static_offset": np.zeros((3, 3))}))
    with pytest.raises(ValueError, match="00001.npz: FLAME: static_offset must have 60 rows"):
        flame.FlameMeshes(model, {1: tmp_path / "00001.npz"}).read(1)
    topology = Topology(np.array([[0, 1, 2]], np.int32), np.array([[0, 1, 2]], np.int32), np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="are not the FLAME model's"):
        flame.check_topology(model, topology, pathlib.Path("head.obj"))
