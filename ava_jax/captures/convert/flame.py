"""FLAME parameters to meshes, with the user's own model file; the model is licensed and not part of this package.

Vertices = skinning(template + shape and expression + offsets; rotation, neck, jaw, eyes) + translation, in metres; x to the subject's
left, y up, z out of the face. The file is FLAME's pickle or an npz of the same arrays. Of a pickle, arrays alone are taken: whatever else
it would run or import is refused.
"""

import io
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ava_jax.captures.convert import meshes
from ava_jax.core.mesh import Topology

_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_JOINTS = ("rotation", "neck_pose", "jaw_pose", "eyes_pose")  # root, neck, jaw, left eye, right eye
_ANGLES = 15
# What a pickle of arrays needs of numpy and scipy. All else is a stand-in that keeps its state and does nothing.
_NUMPY = {
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
}


class FlameModel:
    """FLAME, as its file has it.

    Attributes:
      template: f64 [V, 3], metres.
      faces: int [M, 3].
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes the model's arrays.

        Args:
          arrays: v_template [V, 3]; shapedirs [V, 3, S]; posedirs [V, 3, 36] or [36, 3 V]; J_regressor [5, V]; weights [V, 5];
            kintree_table [2, 5]; f [M, 3].

        Raises:
          ValueError: their shapes do not belong together.
        """
        self.template = np.asarray(arrays["v_template"], np.float64)
        count = len(self.template)
        self._shapes = np.asarray(arrays["shapedirs"], np.float64)
        poses = np.asarray(arrays["posedirs"], np.float64)
        self._poses = poses.reshape(-1, count, 3) if poses.ndim == 2 else np.moveaxis(poses, -1, 0)
        self._regressor, self._weights = (np.asarray(arrays[name], np.float64) for name in ("J_regressor", "weights"))
        self._parents = np.asarray(arrays["kintree_table"]).astype(np.int64)[0]
        self.faces = np.asarray(arrays["f"]).astype(np.int64)
        joints = len(self._parents)
        expected = {
            "shapedirs": (self._shapes.shape[:2], (count, 3)),
            "posedirs": (self._poses.shape, (9 * (joints - 1), count, 3)),
            "J_regressor": (self._regressor.shape, (joints, count)),
            "weights": (self._weights.shape, (count, joints)),
            "kintree_table": ((joints,), (_ANGLES // 3,)),
        }
        for name, (got, needed) in expected.items():
            if tuple(got) != needed:
                raise ValueError(f"FLAME model: {name} must fit {needed}, for {count} vertices; got {tuple(got)}.")

    def vertices(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The mesh of a frame's parameters, f64 [V, 3], metres.

        Args:
          parameters: `shape` [S1], `expr` [S2], `translation`, `rotation`, `neck_pose`, `jaw_pose` [3], `eyes_pose` [6], `static_offset`
            and `dynamic_offset` [V' >= V, 3], of which V belong to FLAME; what is missing is 0.

        Raises:
          ValueError: one has another size.
        """
        count = len(self.template)
        shape = np.ravel(parameters.get("shape", ()))
        expression = np.ravel(parameters.get("expr", ()))
        split = self._shapes.shape[2] - 100 if self._shapes.shape[2] > 100 else self._shapes.shape[2] // 2
        if len(shape) > split or len(expression) > self._shapes.shape[2] - split:
            raise ValueError(
                f"FLAME: the model has {split} of shape and {self._shapes.shape[2] - split}; got {len(shape)}, {len(expression)}."
            )
        rest = self.template + self._shapes[..., : len(shape)] @ shape + self._shapes[..., split : split + len(expression)] @ expression
        joints = self._regressor @ rest
        for name in ("static_offset", "dynamic_offset"):
            if name in parameters:
                rest = rest + _offsets(name, parameters[name], count)
        angles = np.concatenate([_vector(parameters, name, 6 if name == "eyes_pose" else 3) for name in _JOINTS])
        turns = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix()
        rest = rest + np.tensordot((turns[1:] - np.eye(3)).ravel(), self._poses, 1)
        return self._skinned(rest, joints, turns) + _vector(parameters, "translation", 3)

    def _skinned(self, rest: np.ndarray, joints: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Each vertex moved by the mean of its joints' motions."""
        world: list[np.ndarray] = []
        for joint, turn in enumerate(turns):
            local = np.eye(4)
            parent = int(self._parents[joint])
            root = joint == 0
            local[:3, :3], local[:3, 3] = turn, joints[joint] - (0 if root else joints[parent])
            world.append(local if root else world[parent] @ local)
        moved = np.stack(world)
        moved[:, :3, 3] -= np.einsum("jab,jb->ja", moved[:, :3, :3], joints)
        mixed = np.tensordot(self._weights, moved, 1)
        return np.einsum("vab,vb->va", mixed[:, :3, :3], rest) + mixed[:, :3, 3]


class FlameMeshes:
    """Meshes of parameters, a npz per frame."""

    def __init__(self, model: FlameModel, paths: Mapping[int, pathlib.Path]) -> None:
        """Reads none yet.

        Args:
          model: the user's.
          paths: of the parameters, by frame.
        """
        self.model, self._paths = model, dict(paths)
        self.frames = tuple(sorted(paths))

    def read(self, frame: int) -> np.ndarray:
        """As `meshes.Meshes`, f64 [V, 3]."""
        path = self._paths[frame]
        known = ("shape", "expr", "translation", *_JOINTS, "static_offset", "dynamic_offset")
        try:
            vertices = self.model.vertices(meshes.npz(path, (), known))
        except ValueError as e:
            raise ValueError(str(e) if str(e).startswith(str(path)) else f"{path}: {e}") from e
        if not np.isfinite(vertices).all():
            raise ValueError(f"{path}: parameters must be finite.")
        return vertices


def load(path: pathlib.Path) -> FlameModel:
    """Reads a model, of FLAME's pickle or an npz of its arrays.

    Raises:
      ValueError: the file cannot be read, or is no such model.
    """
    if path.suffix.lower() == ".npz":
        return FlameModel(meshes.npz(path, _ARRAYS))
    try:
        state = _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        arrays = {name: _array(state[name]) for name in _ARRAYS}
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except Exception as e:  # pickle raises many kinds for damaged files
        raise ValueError(f"{path}: no FLAME model that can be read ({type(e).__name__}: {' '.join(str(e).split())[:200]}).") from e
    return FlameModel(arrays)


def check_topology(model: FlameModel, topology: Topology, path: pathlib.Path | None) -> None:
    """Whether a topology with UVs has the model's faces.

    Raises:
      ValueError: it has others.
    """
    if set(map(frozenset, topology.faces.tolist())) != set(map(frozenset, model.faces.tolist())):
        raise ValueError(f"topology {path}: its faces are not the FLAME model's; use FLAME's template OBJ with UVs.")


class _Kept(dict):
    """Stands for an object of a class that is not looked up: its state and its items are kept, nothing of it is run."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.args, self.state = args, {}

    def append(self, item: Any) -> None:
        """Takes an item of what was a list."""
        self[len(self)] = item

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Arrays(pickle.Unpickler):
    """Makes arrays of numpy, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Numpy's array, or a stand-in."""
        if name in _NUMPY.get(module, ()):
            if name in ("ndarray", "dtype"):
                return getattr(np, name)
            return getattr(np._core.multiarray, name)
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return lambda cls, base, state: _Kept()
        if (module, name) in (("_codecs", "encode"),):
            return lambda text, encoding: text.encode("latin1")
        return _Kept


def _array(value: Any) -> np.ndarray:
    """An array of any shape of what a pickle held: an array, chumpy's wrapper of one, or scipy's sparse matrix."""
    if isinstance(value, np.ndarray):
        return value
    state = value.state if isinstance(value, _Kept) else {}
    if isinstance(state, tuple):
        state = next((part for part in state if isinstance(part, dict)), {})
    if "x" in state:  # chumpy
        return _array(state["x"])
    shape = state.get("_shape", state.get("shape"))
    if {"data", "indices", "indptr"} <= set(state) and shape:
        outer = np.repeat(np.arange(len(state["indptr"]) - 1), np.diff(state["indptr"]))
        rows, columns = (state["indices"], outer) if len(state["indptr"]) == shape[1] + 1 != shape[0] + 1 else (outer, state["indices"])
        dense = np.zeros(shape)
        np.add.at(dense, (rows, columns), state["data"])
        return dense
    raise ValueError("an entry is neither an array nor a sparse matrix")


def _vector(parameters: Mapping[str, np.ndarray], name: str, size: int) -> np.ndarray:
    value = np.ravel(parameters.get(name, np.zeros(size))).astype(np.float64)
    if len(value) != size:
        raise ValueError(f"FLAME: {name} must have {size} numbers, of one frame; got {len(value)}.")
    return value


def _offsets(name: str, value: np.ndarray, count: int) -> np.ndarray:
    rows = np.asarray(value, np.float64).reshape(-1, 3)
    if len(rows) < count:
        raise ValueError(f"FLAME: {name} must have {count} rows or more; got {len(rows)}.")
    return rows[:count]
