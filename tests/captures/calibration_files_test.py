"""Calibrations that cannot be right: refused with file, camera and key; and text files as editors and spreadsheets save them."""

import json
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.captures import ava256, calibration

FOCAL, PRINCIPAL = (7000.0, 7010.0), (1300.0, 2000.0)
R, T = Rotation.from_euler("xyz", [0.3, -0.4, 0.2]).as_matrix(), np.array([10.0, -20.0, 1000.0])
NAME = "400008"


def stored_k(**changes) -> np.ndarray:
    k = np.array([[FOCAL[0], 0, 0], [0, FOCAL[1], 0], [*PRINCIPAL, 1]])
    for at, value in changes.items():
        k[int(at[1]), int(at[2])] = value
    return k


def stored_t(rotation=R, translation=T) -> np.ndarray:
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = rotation, translation
    return rigid.T


def entry(**changes) -> dict:
    made = {"cameraId": NAME, "K": stored_k(), "T": stored_t(), "distortion": [0.0] * 4} | changes
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in made.items() if value is not None}


def load(path, *entries) -> calibration.Camera:
    path.write_text(json.dumps({"KRT": list(entries)}))
    found = calibration.read(path)
    return calibration.camera(path, NAME, found[NAME])


def test_a_sound_camera(tmp_path):
    for t in (stored_t(), stored_t()[:, :3]):
        camera = load(tmp_path / "c.json", entry(T=t))
        np.testing.assert_allclose(camera.rotation, R, atol=1e-12)
        np.testing.assert_array_equal(camera.translation, T)
        assert (*camera.focal, *camera.principal) == (*FOCAL, *PRINCIPAL) and not camera.distorted
    assert not load(tmp_path / "c.json", entry(distortion=None, cameraId=int(NAME))).distorted
    assert load(tmp_path / "c.json", entry(distortion=[0.0, 1e-3, 0.0, 0.0])).distorted


_WRONG = {
    "K not transposed": (entry(K=stored_k().T), "K is not transposed; this layout stores it transposed"),
    "K of three numbers": (entry(K=[1, 2, 3]), "K must be 3 x 3"),
    "K of rows that differ": (entry(K=[[1, 0, 0], [0, 1], [0, 0, 1]]), "K must be rows of numbers"),
    "K of words": (entry(K="focal"), "K must be rows of numbers"),
    "K full": (entry(K=np.arange(9.0).reshape(3, 3)), "K must be a pinhole camera's"),
    "K of another scale": (entry(K=2 * stored_k()), "K must be a pinhole camera's"),
    "K with skew": (entry(K=stored_k(k10=30.0)), "K has a skew of 30 pixels, which is not modelled"),
    "focal zero": (entry(K=stored_k(k00=0.0)), "K's focal lengths must be positive; got 0 and 7010"),
    "focal negative": (entry(K=stored_k(k11=-7000.0)), "K's focal lengths must be positive; got 7000 and -7000"),
    "K with NaN": (entry(K=stored_k(k00=np.nan)), "K has a number that is not finite"),
    "K too large": (entry(K=[[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]), "K must be rows of numbers"),
    "T not transposed": (entry(T=stored_t().T), "T is not transposed; this layout stores it transposed"),
    "T 3 x 4": (entry(T=stored_t().T[:3]), "T is not transposed"),
    "T with NaN": (entry(T=stored_t(translation=[0, np.inf, 0])), "T has a number that is not finite"),
    "T not orthonormal": (entry(T=stored_t(rotation=R * [1, 1.01, 1])), r"T must begin with a rotation.*not orthonormal \(off by 0.0"),
    "T scaled": (entry(T=stored_t(rotation=1000 * R)), "T must begin with a rotation.*not orthonormal"),
    "T mirrored": (entry(T=stored_t(rotation=R * [1, 1, -1])), r"T must begin with a rotation.*it mirrors \(determinant -1\)"),
    "T projective": (entry(T=stored_t() + [[0, 0, 0, 0.1]] * 4), "last column"),
    "T of nothing": (entry(T=[]), "T must be 4 x 4"),
    "distortion of words": (entry(distortion="none"), "distortion must be rows of numbers"),
    "distortion NaN": (entry(distortion=[np.nan]), "distortion has a number that is not finite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", _WRONG)
def test_what_cannot_be_a_camera_is_named(tmp_path, kind):
    made, message = _WRONG[kind]
    with pytest.raises(ValueError, match=rf"c\.json: camera {NAME}: .*{message}") as error:
        load(tmp_path / "c.json", made)
    assert "\n" not in str(error.value)


_NO_LIST = {
    "twice": ([entry(), entry(cameraId=int(NAME))], f"camera {NAME} is there twice"),
    "no id": ([entry(cameraId=None)], "entry 0 of KRT must have a cameraId"),
    "another id": ([entry(), entry(cameraId="front")], "entry 1 of KRT must have a cameraId.*'front'"),
    "a large id": ([entry(cameraId=3000001000)], "entry 0 of KRT must have a cameraId"),
    "no K": ([entry(K=None)], f"must be .*; camera {NAME} has no K"),
    "no T": ([entry(T=None)], f"must be .*; camera {NAME} has no T"),
    "nothing": ([], "must be .*KRT"),
    "no entries": ([1], "must be .*KRT"),
}


@pytest.mark.parametrize("kind", _NO_LIST)
def test_what_is_no_list_of_cameras_is_named(tmp_path, kind):
    entries, message = _NO_LIST[kind]
    with pytest.raises(ValueError, match=rf"c\.json: {message}"):
        load(tmp_path / "c.json", *entries)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"KRT": {}}', "[" * 100_000, "1" * 5000, "\0", '{"KRT": [null]}'])
def test_what_is_no_json_is_named_in_one_line(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match=r"c\.json: must be") as error:
        calibration.read(tmp_path / "c.json")
    assert "\n" not in str(error.value)


@pytest.fixture
def own(tiny_capture, tmp_path):
    return shutil.copytree(tiny_capture, tmp_path / "captures")


def _same(a: ava256.Capture, b: ava256.Capture) -> bool:
    arrays = ("focal", "principal", "rotation", "translation", "frames", "segments")
    return a.cameras == b.cameras and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


@pytest.mark.parametrize(
    "save",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace(",", ", ").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", " ; ").encode(),
        lambda text: text.replace(",", " ").encode(),
        lambda text: (text + "\n \n,\n\n").encode(),
        lambda text: ("\n" + text.rstrip()).encode(),
        lambda text: "\n".join(f'"{a}","{b}"' for a, b in (line.split(",") for line in text.split())).encode(),
        lambda text: text.replace("\n", ",\n").encode(),
    ],
    ids=[
        "bom",
        "crlf",
        "cr",
        "utf-16",
        "comma space",
        "tabs",
        "semicolons",
        "spaces",
        "blank lines",
        "no last newline",
        "quotes",
        "empty column",
    ],
)
def test_a_frame_list_is_read_as_editors_save_it(tiny_capture, own, save):
    folder = next(own.glob("*SYN001"))
    expected = ava256.load(folder)
    path = folder / "decoder" / "frame_list.csv"
    path.write_bytes(save(path.read_text()))
    assert _same(ava256.load(folder), expected)


def test_a_calibration_is_read_as_editors_save_it(own):
    folder = next(own.glob("*SYN001"))
    expected = ava256.load(folder)
    path = folder / "decoder" / "camera_calibration.json"
    text = path.read_text()
    for data in (b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), text.encode("utf-16")):
        path.write_bytes(data)
        assert _same(ava256.load(folder), expected)


def test_ids_are_read_as_a_spreadsheet_saves_them(own, tmp_path):
    (tmp_path / "ids.csv").write_bytes(b"\xef\xbb\xbfmcd;sid;mct\r\n20260101; SYN001;900\r\n;;\r\n")  # 0900 has become a number
    assert [folder.name for folder in ava256.find(str(own), str(tmp_path / "ids.csv"))] == ["20260101--0900--SYN001"]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"seg_id,frame_id\nEXP_a,1\nEXP_b\n", "line 3: must have the columns seg_id,frame_id"),
        (b"seg_id,frame_id\nEXP_a,1\n,2\n", "line 3: must have the columns"),
        (b"EXP_a,1\n", "must have the columns"),
        (b"", "must have the columns"),
        (b"seg_id,frame_id\nEXP_\xe4,1\n", "no text in UTF-8.*save it as UTF-8"),
        (b"seg_id,frame_id\nEXP_a,3000001000\n", "from 0 to 2147483647; got 3000001000"),
        (b"seg_id,frame_id\nEXP_a,-3\n", "from 0 to 2147483647; got -3"),
        (b"seg_id,frame_id\nEXP_a," + b"9" * 40 + b"\n", "frame_id must be a whole number"),
        (b"seg_id,frame_id\nEXP_a,1.5\n", "frame_id must be a whole number"),
        (b'seg_id,frame_id\n"EXP_a,' + b"1" * 200_000, "cannot be read"),
    ],
)
def test_a_frame_list_that_cannot_be_right_names_its_line(own, data, message):
    folder = next(own.glob("*SYN001"))
    (folder / "decoder" / "frame_list.csv").write_bytes(data)
    with pytest.raises(ValueError, match=rf"frame_list\.csv[:,].*{message}") as error:
        ava256.load(folder)
    assert "\n" not in str(error.value)


def test_cameras_of_another_sensor_say_its_size(tmp_path):
    path = tmp_path / "c.json"
    sized = {"height": 802, "width": 550}
    default = (4096, 2668)
    assert calibration.sensor(path, {"1": entry(**sized), "2": entry(**sized)}, default) == (802, 550)
    assert calibration.sensor(path, {"1": entry()}, default) == default
    assert calibration.sensor(path, {"1": entry(), "2": entry(height=4096, width=2668)}, default) == default
    with pytest.raises(ValueError, match=r"1 has 802 x 550 and 2 4096 x 2668"):
        calibration.sensor(path, {"1": entry(**sized), "2": entry()}, default)
    for wrong in ({"height": 802}, {"height": 802.5, "width": 550}, {"height": 0, "width": 550}, {"height": True, "width": 550}):
        with pytest.raises(ValueError, match="camera 1: height and width"):
            calibration.sensor(path, {"1": entry(**wrong)}, default)
