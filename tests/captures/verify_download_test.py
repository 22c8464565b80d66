"""Captures as a download leaves them, verified: what nobody asked for is no fault, what is gone or broken is, and is fetched again."""

import pathlib
import shutil

import pytest
from download_server import Server

from ava_jax.captures import published, published_choice
from ava_jax.captures.published_choice import Choice
from ava_jax.captures.verify import tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.captures.verify.findings import Book
from ava_jax.data.download import manifest
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download

DEPTH = Depth("all", crc=True)
ASSETS = tuple(name for name, asset in published.ASSETS.items() if not asset.optional and name != "encoder")
NAMES = ("20260101--0900--SYN001", "20260102--0901--SYN002")
TWO = ("EXP_neutral_peak", "EXP_free_face")


@pytest.fixture(scope="module")
def server(tiny_capture):
    """The captures in the published layout, without a headset."""
    with Server({f"4TB/{path.relative_to(tiny_capture)}": path for path in tiny_capture.glob("*/decoder/**/*.*")}) as running:
        yield running


@pytest.fixture
def root(tiny_capture, tmp_path) -> pathlib.Path:
    """A folder to download into, with the topology."""
    shutil.copy(tiny_capture / "face_topology.obj", tmp_path)
    return tmp_path


def fetch(server, root, *assets, captures=NAMES, **choice) -> None:
    download = Download(root, Client(tries=3, first_wait=0.01), shown=False)
    items, problems = published_choice.items(download, Choice(assets or ASSETS, base=server.url, **choice), captures)
    assert problems + download.run(download.plan(items).tasks) == []


def verify(root, repair: bool = False) -> list[Book]:
    books = tree.verify(tree.find([root]), DEPTH)
    return tree.repair(books, DEPTH) if repair else books


def told(books: list[Book]) -> set[tuple[str, str, str, str]]:
    return {(book.folder.name[-1], one.level, one.what, one.file) for book in books for one in book.findings}


def test_one_camera_and_two_segments_are_sound(server, root):
    fetch(server, root, frontal=True, segments=TWO)
    books = verify(root)
    assert [book.state for book in books] == ["sound", "sound"]
    assert {what for _, level, what, _ in told(books)} == {
        "calibrated cameras that were not fetched",
        "listed frames that were not fetched",
    }


def test_frames_that_were_not_chosen_for_one_zip(server, root):
    """Poses of two segments, images of all: frames without a pose are passed over, and nothing is broken."""
    fetch(server, root, "camera_calibration", "frame_list", "image", "segmentation_parts", "kinematic_tracking", "uv_image")
    fetch(server, root, "head_pose", segments=TWO)
    books = verify(root)
    assert [book.state for book in books] == ["sound", "sound"]
    (found,) = [one for one in books[1].findings if one.kind == "head pose"]
    assert found.level == "note" and "its download left out" in found.what and found.count == 6 - 2


def test_meshes_alone_are_no_fault_and_the_neutral_face_is_asked_for(server, root):
    fetch(server, root, "kinematic_tracking", "uv_image", segments=("EXP_free_face",))
    books = verify(root)
    assert [book.state for book in books] == ["doubtful", "doubtful"]
    assert ("1", "doubt", "was not fetched, and training needs it", "decoder/head_pose/head_pose.zip") in told(books)
    fetch(server, root, segments=("EXP_free_face",))
    assert ("1", "doubt", "there is none", "") in told(verify(root))


def test_a_capture_that_no_manifest_knows_is_judged_as_before(server, root, tiny_capture):
    fetch(server, root, frontal=True, captures=NAMES[:1])
    shutil.copytree(tiny_capture / NAMES[1], root / NAMES[1])
    (root / NAMES[1] / "decoder/head_pose/head_pose.zip").unlink()
    (root / NAMES[1] / "decoder/image/cam401168.zip").unlink()
    first, second = verify(root)
    assert first.state == "sound" and second.state == "broken"
    assert ("2", "doubt", "calibrated cameras without images, which are not used", "decoder/image/cam401168.zip") in told([second])


def test_a_manifest_that_cannot_be_read_is_said(server, root):
    fetch(server, root, captures=NAMES[1:])
    (root / manifest.FILE).write_text("{")
    (book,) = verify(root)
    assert [(one.level, one.kind) for one in book.findings] == [("doubt", "manifest")] and "cannot be read" in book.findings[0].detail


def test_what_is_broken_or_gone_is_fetched_again_from_the_server(server, root, tiny_capture):
    fetch(server, root)
    fetch(server, root, captures=NAMES[:1])
    decoder = root / NAMES[1] / "decoder"
    rotten, cut = decoder / "image/cam401168.zip", decoder / "kinematic_tracking/registration_vertices.zip"
    data = bytearray(rotten.read_bytes())
    data[len(data) // 2] ^= 255
    rotten.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-50])
    gone = decoder / "segmentation_parts/cam401168.zip"
    gone.unlink()
    before = verify(root)
    assert [book.state for book in before] == ["sound", "broken"]
    assert ("2", "fault", "was fetched, and is not there any more", "decoder/segmentation_parts/cam401168.zip") in told(before)
    assert [book.state for book in verify(root, repair=True)] == ["sound", "sound"]
    for path in (rotten, cut, gone):
        assert path.read_bytes() == (tiny_capture / path.relative_to(root)).read_bytes()


def test_a_smaller_zip_is_repaired_as_a_smaller_zip(server, root):
    fetch(server, root, frontal=True, segments=TWO, captures=NAMES[:1])
    path = root / NAMES[0] / "decoder/image/cam401168.zip"
    sound = path.read_bytes()
    path.write_bytes(sound[:200] + bytes([sound[200] ^ 255]) + sound[201:])
    assert [book.state for book in verify(root)] == ["broken"]
    assert [book.state for book in verify(root, repair=True)] == ["sound"]
    assert path.read_bytes() == sound


def test_a_server_that_is_gone_is_said(server, root, tiny_capture):
    with Server(dict(server.files)) as running:
        fetch(running, root, captures=NAMES[1:])
    (root / NAMES[1] / "decoder/head_pose/head_pose.zip").unlink()
    (book,) = verify(root, repair=True)
    (found,) = [one for one in book.findings if one.kind == "repair"]
    assert book.state == "broken" and found.file == "decoder/head_pose/head_pose.zip" and found.detail
