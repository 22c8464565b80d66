"""Broken files are fetched again, and looked at again; what cannot be fetched is said."""

import pathlib
import shutil
import sys
import types

import pytest

from ava_jax.captures.verify import report, tree
from ava_jax.captures.verify.contents import Depth

DEPTH = Depth("all")
IMAGE = "decoder/image/cam401168.zip"
POSES = "decoder/head_pose/head_pose.zip"


@pytest.fixture
def broken(tiny_capture, tmp_path) -> pathlib.Path:
    """A folder of two captures; an image zip of the second is cut, and its head poses are gone."""
    root = pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
    second = sorted(path.parent for path in root.glob("*/decoder"))[1]
    path = second / IMAGE
    path.write_bytes(path.read_bytes()[:-100])
    (second / POSES).unlink()
    return second


def serve(monkeypatch, refetch) -> None:
    module = types.ModuleType("ava_jax.captures.published")
    module.refetch = refetch
    monkeypatch.setitem(sys.modules, "ava_jax.captures.published", module)


def test_what_is_broken_is_fetched_again_and_nothing_else(broken, tiny_capture, monkeypatch, capsys):
    asked = []

    def refetch(folder, names, *, jobs=8):
        asked.append((folder, list(names), jobs))
        for name in names:
            shutil.copy(tiny_capture / folder.name / name, folder / name)
        return []

    serve(monkeypatch, refetch)
    books = tree.verify(tree.find([broken.parent]), DEPTH)
    assert [book.state for book in books] == ["sound", "broken"]
    again = tree.repair(books, DEPTH, threads=3)
    assert asked == [(broken, [POSES, IMAGE], 3)] or asked == [(broken, sorted([POSES, IMAGE]), 3)]
    assert again[0] is books[0] and [book.state for book in again] == ["sound", "sound"]
    assert "fetching 2 files again" in capsys.readouterr().err


def test_what_cannot_be_fetched_is_said(broken, tiny_capture, monkeypatch):
    def refetch(folder, names, *, jobs=8):
        shutil.copy(tiny_capture / folder.name / IMAGE, folder / IMAGE)
        return [POSES]

    serve(monkeypatch, refetch)
    (book,) = tree.repair(tree.verify([broken], DEPTH), DEPTH)
    assert book.state == "broken"
    faults = {(one.kind, one.what, one.file, one.detail) for one in book.findings if one.level == "fault"}
    assert faults == {
        ("file", "is missing, and training needs it", POSES, ""),
        ("repair", "was not repaired", POSES, "could not be fetched"),
    }


def test_without_a_manifest_nothing_is_fetched(broken, monkeypatch):
    def refetch(folder, names, *, jobs=8):
        raise ValueError(f"{folder}: has no download manifest; it was not fetched by ava ava256 download.")

    serve(monkeypatch, refetch)
    books = tree.repair(tree.verify([broken], DEPTH), DEPTH)
    lines = [one.detail for one in books[0].findings if one.kind == "repair"]
    assert len(lines) == 2 and "no download manifest" in lines[0]
    assert "fetch it by hand" in report.text(books)
