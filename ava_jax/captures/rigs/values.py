"""Numbers of rigs' files, held to be what a camera can have, and poses of any convention as [R, t], world to camera, OpenCV axes."""

from typing import Any

import numpy as np

from ava_jax.core.cameras import rotation_fault

OPENGL = np.diag([1.0, -1.0, -1.0])  # between OpenCV's camera axes and OpenGL's (y up, z backwards); its own inverse
MOST_SIDE = 1 << 16
_MOST = 1e12  # no length or focal length of a rig
_AXES = np.eye(3)


def array(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Numbers f64 [shape] of lists in each other, or of one list in the order of rows.

    Raises:
      ValueError: they are another count, or not finite numbers; `what` is what the message calls them.
    """
    count = int(np.prod(shape))
    flat: list[Any] = []
    _flatten(value, flat, count, what)
    if len(flat) != count:
        raise ValueError(f"{what} must be {_form(shape)}; got {len(flat)}")
    return np.array([number(item, what) for item in flat], np.float64).reshape(shape)


def _flatten(value: Any, flat: list[Any], most: int, what: str, depth: int = 0) -> None:
    if not isinstance(value, list | tuple):
        flat.append(value)
    elif depth == 3:
        raise ValueError(f"{what} must be rows of numbers")
    else:
        for item in value[: most + 1]:
            _flatten(item, flat, most, what, depth + 1)
            if len(flat) > most:
                return


def _form(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} numbers" if len(shape) == 1 else f"{' x '.join(map(str, shape))} numbers"


def number(value: Any, what: str) -> float:
    """A finite number, of a JSON value or a word.

    Raises:
      ValueError: it is none; `what` is what the message calls it.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and ("_" in value or len(value) > 400))
    ):
        raise ValueError(f"{what} must be a number; got {str(value)[:40]!r}")
    try:
        found = float(value)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{what} must be a number; got {str(value)[:40]!r}") from e
    if not abs(found) < _MOST:
        raise ValueError(f"{what} must be a finite number below {_MOST:g}; got {str(value)[:40]}")
    return found


def whole(value: Any, what: str, most: int = 2**31 - 1) -> int:
    """A whole number from 0 to `most`, of a JSON value or a word (7.0 is one).

    Raises:
      ValueError: it is none.
    """
    found = number(value, what)
    if found != int(found) or not 0 <= found <= most:
        raise ValueError(f"{what} must be a whole number from 0 to {most}; got {str(value)[:40]}")
    return int(found)


def size(width: Any, height: Any, what: str = "image size") -> tuple[int, int]:
    """Height and width, pixels.

    Raises:
      ValueError: they are no image's.
    """
    found = whole(height, f"{what}: height", MOST_SIDE), whole(width, f"{what}: width", MOST_SIDE)
    if min(found) < 1:
        raise ValueError(f"{what} must be 1 x 1 pixels at least; got {found[1]} x {found[0]}")
    return found


def pinhole(fx: float, fy: float, cx: float, cy: float, skew: float = 0.0) -> np.ndarray:
    """K, f64 [3, 3], of numbers in pixels, integer pixel centres.

    Raises:
      ValueError: a focal length is not positive.
    """
    if not (fx > 0 and fy > 0):
        raise ValueError(f"focal lengths must be positive; got {fx:g} and {fy:g}")
    return np.array([[fx, skew, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def require_pinhole(k: np.ndarray) -> np.ndarray:
    """K [3, 3] where it is a pinhole camera's.

    Raises:
      ValueError: it is not: rows [fx, skew, cx], [0, fy, cy], [0, 0, 1].
    """
    small = 1e-6 * np.abs(k).max()
    if np.abs(k[(1, 2, 2), (0, 0, 1)]).max() > small or abs(k[2, 2] - 1) > 1e-6:
        raise ValueError(f"K must have the rows [fx, skew, cx], [0, fy, cy], [0, 0, 1]; got {k.tolist()}")
    return pinhole(k[0, 0], k[1, 1], k[0, 2], k[1, 2], k[0, 1])


def rotation(matrix: np.ndarray, what: str = "the rotation") -> np.ndarray:
    """The rotation next to a matrix [3, 3] that is one but for rounding, f64 [3, 3].

    Raises:
      ValueError: it is no rotation; the message says what is wrong.
    """
    if fault := rotation_fault(matrix):
        raise ValueError(f"{what} is none: {fault}")
    u, _, v = np.linalg.svd(matrix)
    return u @ v


def quaternion(wxyz: np.ndarray) -> np.ndarray:
    """The rotation f64 [3, 3] of a Hamilton quaternion [4], scalar first.

    Raises:
      ValueError: its length is not 1 but for rounding.
    """
    length = float(np.linalg.norm(wxyz))
    if not abs(length - 1) < 1e-3:
        raise ValueError(f"the quaternion must have length 1, scalar first; got {wxyz.tolist()} of length {length:.4g}")
    w, x, y, z = np.asarray(wxyz, np.float64) / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def axis_angle(vector: np.ndarray) -> np.ndarray:
    """The rotation f64 [3, 3] of an axis times its angle in radians [3] (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3) + np.cross(_AXES, -np.asarray(vector, np.float64))
    x, y, z = np.asarray(vector, np.float64) / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def pose(turn: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """World to camera, f64 [4, 4], of a rotation [3, 3] and a translation [3], both world to camera, OpenCV axes."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rotation(turn), translation
    return found


def pose_of_centre(turn: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """World to camera, f64 [4, 4], of a rotation [3, 3], world to camera, and the camera's centre [3] in the world."""
    turn = rotation(turn)
    return pose(turn, -turn @ np.asarray(centre, np.float64))


def pose_of_camera_to_world(matrix: np.ndarray, *, opengl: bool) -> np.ndarray:
    """World to camera, f64 [4, 4], of camera to world [4, 4] or [3, 4], with camera axes of OpenGL or of OpenCV.

    Raises:
      ValueError: its last row is not 0 0 0 1, or it holds no rotation.
    """
    if len(matrix) == 4 and np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise ValueError(f"a pose must end in the row 0 0 0 1; got {matrix[3].tolist()}")
    turn = matrix[:3, :3] @ OPENGL if opengl else matrix[:3, :3]
    return pose_of_centre(turn.T, matrix[:3, 3])
