"""ava-256's published layout: what each choice fetches, from a local copy of it."""

import re
import zipfile

import pytest
from download_server import Server
from published_tree import CAMERAS, CSV, ONE, TWO, capture, tree

from ava_jax.captures import published, published_choice
from ava_jax.captures.published_choice import Choice
from ava_jax.data.download import manifest
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download


@pytest.fixture(scope="module")
def files():
    return tree()


@pytest.fixture
def server(files):
    with Server(files) as running:
        running.multipart |= {name for name in files if name.endswith(".zip")}
        yield running


def fetch(server, folder, *assets, captures=(ONE, TWO), size="4TB", **choice):
    """Runs a download; its problems, by path."""
    download = Download(folder, Client(tries=3, first_wait=0.01), shown=False)
    chosen = Choice(published.assets(assets or ("all",), size), size=size, base=server.url, **choice)
    items, problems = published_choice.items(download, chosen, captures)
    plan = download.plan(items)
    return {problem.path: problem.text for problem in problems + plan.problems + download.run(plan.tasks)}


def there(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {manifest.FILE}


def numbers(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return [int(re.findall(r"(\d+)\.", name)[0]) for name in archive.namelist()]


def test_all_has_as_many_files_as_the_published_tool_fetches():
    count = 0
    for name in published.assets(("all",), "32TB"):
        asset = published.ASSETS[name]
        count += len(asset.files) + len(asset.zips) + (80 if asset.cameras else 0)
    assert count == 176


def test_all_is_fetched_to_the_same_paths(server, tmp_path, files):
    assert fetch(server, tmp_path) == {}
    optional = ("background_image", "foreground_masks", "expression_codes", "encodings", "checkpoints")
    expected = {name.removeprefix("4TB/") for name in files if not any(word in name for word in optional)}
    assert there(tmp_path) == expected
    assert all((tmp_path / path).read_bytes() == files[f"4TB/{path}"] for path in expected)
    assert len(expected) == 2 * (16 + 2 * 4)


def test_optional_assets_and_the_checkpoint(server, tmp_path):
    names = ("checkpoint", "statistics", "background_image", "foreground_masks", "expression_codes", "encoder_labels")
    assert fetch(server, tmp_path, *names, captures=[ONE], cameras=("401031",)) == {}
    assert there(tmp_path) == {published.CHECKPOINT} | {
        f"{ONE}/{path}"
        for path in (
            "decoder/camera_calibration.json", "decoder/foreground_masks/cam401031.zip", "decoder/background_image/background_image.zip",
            "decoder/expression_codes/aeparams_1440000.pkl", "encoder/encodings_gt.pt", "encoder/encodings_framelist.csv",
            "decoder/uv_image/color_mean.png", "decoder/uv_image/color_variance.txt",
            "decoder/kinematic_tracking/registration_vertices_mean.npy", "decoder/kinematic_tracking/registration_vertices_variance.txt",
        )
    }  # fmt: skip


def test_the_checkpoint_alone_needs_no_captures_and_is_of_4tb_at_any_size(server, tmp_path):
    assert fetch(server, tmp_path, "checkpoint", captures=(), size="32TB") == {}
    assert there(tmp_path) == {published.CHECKPOINT}


def test_what_is_published_at_4tb_alone_is_said():
    with pytest.raises(ValueError, match=r"background_image,foreground_masks: published at 4TB alone; fetch it with --size=4TB"):
        published.assets(("all", "foreground_masks", "background_image"), "16TB")
    with pytest.raises(ValueError, match="of 16, the nearest are image"):
        published.assets(("images",), "4TB")


def test_segments_of_two_captures_without_the_rest(server, tmp_path):
    assert fetch(server, tmp_path, "kinematic_tracking", segments=("EXP_neutral_peak", "EXP_free_face")) == {}
    for name in (ONE, TWO):
        path = tmp_path / name / "decoder/kinematic_tracking/registration_vertices.zip"
        assert numbers(path) == [100, 101, 102, 300, 301, 302]
    assert {path.partition("/")[2] for path in there(tmp_path)} == {
        published.FRAMES, "decoder/kinematic_tracking/registration_vertices.zip",
        "decoder/kinematic_tracking/registration_vertices_mean.npy", "decoder/kinematic_tracking/registration_vertices_variance.txt",
    }  # fmt: skip


@pytest.mark.parametrize(
    "choice, expected",
    [
        ({"every": 2}, [100, 102, 200, 202, 204, 300, 302]),
        ({"every": 4, "segments": ("EXP_jaw",)}, [200, 204]),
        ({"frames": (101, 203, 7)}, [101, 203]),
        ({"frames": (101, 203), "segments": ("EXP_jaw",)}, [203]),
        ({"members": ("cam401031/00020[01].avif", "cam9/*")}, [200, 201]),
    ],
)
def test_frames_and_members(server, tmp_path, choice, expected):
    assert fetch(server, tmp_path, "image", captures=[ONE], cameras=("401031",), **choice) == {}
    assert numbers(tmp_path / ONE / "decoder/image/cam401031.zip") == expected
    assert not (tmp_path / ONE / "decoder/image/cam400002.zip").exists()


def test_the_frontal_camera_is_the_first_that_a_capture_has(server, tmp_path):
    assert fetch(server, tmp_path, "image", "segmentation_parts", frontal=True) == {}
    zips = {path for path in there(tmp_path) if path.endswith(".zip")}
    assert zips == {
        f"{name}/decoder/{kind}/cam{camera}.zip"
        for name, camera in ((ONE, "401168"), (TWO, "402040"))
        for kind in ("image", "segmentation_parts")
    }


def test_headset_frames_follow_their_own_list(server, tmp_path):
    server.files[f"4TB/{ONE}/encoder/frame_list.csv"] = b"seg_id,frame_id\nEXP_jaw,301\nEXP_jaw,302\nEXP_other,100\n"
    assert fetch(server, tmp_path, "encoder", "head_pose", captures=[ONE], segments=("EXP_jaw",)) == {}
    assert numbers(tmp_path / ONE / "encoder/image/cam-cyclop.zip") == [301, 302]
    assert numbers(tmp_path / ONE / "decoder/head_pose/head_pose.zip") == [200, 201, 202, 203, 204, 205]


def test_a_camera_or_segment_that_only_some_captures_have(server, tmp_path, files):
    server.files |= capture(TWO, segments={"EXP_jaw": range(200, 206)})
    problems = fetch(server, tmp_path, "image", cameras=("401168",), segments=("EXP_neutral_peak",))
    assert problems == {f"{TWO}/{published.CALIBRATION}": "the capture has none of the cameras 401168"}
    assert numbers(tmp_path / ONE / "decoder/image/cam401168.zip") == [100, 101, 102]
    problems = fetch(server, tmp_path / "other", "head_pose", segments=("EXP_neutral_peak", "EXP_jaw"))
    assert problems == {f"{TWO}/{published.FRAMES}": "the capture has no frame of EXP_neutral_peak"}
    assert numbers(tmp_path / "other" / TWO / "decoder/head_pose/head_pose.zip") == [200, 201, 202, 203, 204, 205]


def test_a_camera_or_segment_that_no_capture_has_is_named(server, tmp_path):
    with pytest.raises(ValueError, match="--cameras: no capture has 401032; of 6, the nearest are 401031"):
        fetch(server, tmp_path, "image", cameras=("401032",))
    with pytest.raises(ValueError, match="--segments: no capture has EXP_freeface; of 3, the nearest are EXP_free_face"):
        fetch(server, tmp_path, "head_pose", segments=("EXP_freeface",))


def test_files_that_the_server_lacks_are_listed(server, tmp_path):
    lacking = [f"4TB/{ONE}/decoder/segmentation_parts/cam400002.zip", f"4TB/{TWO}/{published.CALIBRATION}", f"4TB/{TWO}/{published.FRAMES}"]
    for name in lacking:
        del server.files[name]
    problems = fetch(server, tmp_path, "image", "segmentation_parts", "frame_list", "head_pose")
    assert problems == {
        f"{TWO}/{published.CALIBRATION}": "HTTP 404 Not Found; what it lists is left out",
        f"{ONE}/decoder/segmentation_parts/cam400002.zip": "HTTP 404 Not Found",
        f"{TWO}/{published.FRAMES}": "HTTP 404 Not Found",
    }
    assert (tmp_path / TWO / "decoder/head_pose/head_pose.zip").exists()


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"KRT": []}', b'{"KRT": [{"cameraId": "../../x"}]}', b'{"KRT": ["x"]}', b"\xff\xfe\x00"]
)
def test_a_calibration_that_is_none_is_a_problem(server, tmp_path, content):
    server.files[f"4TB/{ONE}/{published.CALIBRATION}"] = content
    problems = fetch(server, tmp_path, "image", captures=[ONE])
    assert list(problems) == [f"{ONE}/{published.CALIBRATION}"]


def test_contradictions_are_refused():
    for change, message in (
        ({"size": "5TB"}, "--size must be one of 4TB"),
        ({"every": 0}, "--every must be 1 or more"),
        ({"frontal": True, "cameras": ("1",)}, "give one of them"),
        ({"members": ("x",), "segments": ("y",)}, "give one or the other"),
        ({"assets": ()}, "--assets must name some"),
    ):
        with pytest.raises(ValueError, match=message):
            Choice(**({"assets": ("image",)} | change))
    assert Choice(("image",), base="http://x/y").base == "http://x/y/"


def test_names_of_captures(tmp_path):
    csv = tmp_path / "ids.csv"
    csv.write_text(CSV)
    assert published.captures((), str(csv), None, tmp_path) == [ONE, TWO]
    assert published.captures((str(csv),), "", 1, tmp_path) == [ONE]
    assert published.captures(("AEY864", ONE), str(csv), None, tmp_path) == [TWO, ONE]
    assert published.captures((TWO,), "", None, tmp_path) == [TWO]
    (tmp_path / TWO).mkdir()
    assert published.captures(("AEY864",), "", None, tmp_path) == [TWO]  # it lies there
    with pytest.raises(ValueError, match="AEY865: there is none of that name; of 2, the nearest are AEY864"):
        published.captures(("AEY865",), str(csv), None, tmp_path)
    with pytest.raises(ValueError, match=r"--captures=ADL311: an id is looked up in a list: the list of captures, 256_ids\.csv"):
        published.captures(("ADL311",), "", None, tmp_path)
    with pytest.raises(ValueError, match="which captures. The list of captures, 256_ids.csv, is a file of the published project"):
        published.captures((), "", None, tmp_path)
    with pytest.raises(ValueError, match="--count must be 1"):
        published.captures((), str(csv), 0, tmp_path)
    for text in ("", "a,b\n1,2\n", "mcd,sid,mct\n2023,A,1\n", "mcd,sid,mct\n20230405,../x,1635\n"):
        csv.write_text(text)
        with pytest.raises(ValueError, match=r"ids\.csv"):
            published.captures((), str(csv), None, tmp_path)


@pytest.mark.data
def test_the_published_list_is_read(test_data):
    found = published.read_list(test_data / "assets/256_ids.csv")
    assert len(found) == len(set(found)) == 256 and found[0] == ONE and TWO in found


def test_refetch(server, tmp_path):
    fetch(server, tmp_path, "image", "camera_calibration", "head_pose", segments=("EXP_jaw",))
    folder = tmp_path / ONE
    zip_, pose = f"decoder/image/cam{CAMERAS[ONE][0]}.zip", "decoder/head_pose/head_pose.zip"
    sound = (folder / zip_).read_bytes()
    (folder / zip_).write_bytes(sound[:2000])
    (folder / published.CALIBRATION).write_text("{}")
    del server.files[f"4TB/{ONE}/{pose}"]
    assert published.refetch(folder, [zip_, published.CALIBRATION, pose, "decoder/nothing.zip"], jobs=2) == [pose, "decoder/nothing.zip"]
    assert (folder / zip_).read_bytes() == sound
    assert (folder / published.CALIBRATION).read_bytes() == server.files[f"4TB/{ONE}/{published.CALIBRATION}"]
    assert published.refetch(tmp_path, [f"{ONE}/{zip_}"]) == []
    assert published.refetch(tmp_path, []) == []
    with pytest.raises(ValueError, match=r"no ava_download\.json there or above"):
        published.refetch(tmp_path.parent, ["x"])


def test_an_address_without_its_scheme_is_refused_before_anything_is_asked_for():
    with pytest.raises(ValueError, match=r"--base_url must be an address, as in https://host/folder/; got '127.0.0.1:8000'"):
        Choice(("image",), base="127.0.0.1:8000")
