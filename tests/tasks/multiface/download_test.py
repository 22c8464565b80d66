"""`ava multiface download` against a local server that drops, truncates, lies; what is asked for, and nothing else, lands on the disk."""

import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
from download_server import Fault, Server
from multiface_tree import CAMERAS, ENTITY, FRAMES, LONG, ROOT, SHORT, tar, tars, tree

from ava_jax.captures.multiface import fetching, published
from ava_jax.captures.multiface.published import Choice
from ava_jax.data.download import tars as unpacking
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download


@pytest.fixture
def server():
    with Server(tree()) as running:
        yield running


def fetch(server, out: pathlib.Path, *, verify: bool = False, dry: bool = False, jobs: int = 2, **chosen):
    """(what was listed, problems)."""
    choice = Choice((ENTITY,), base=server.url, **chosen)
    client = Client(tries=3, first_wait=0.01, longest_wait=0.02, timeout=2)
    download = Download(out, client, jobs=jobs, fresh=0, dry=dry, shown=False)
    listed = fetching.list_entity(download, choice, ENTITY, verify=verify)
    plan = download.plan(listed.items)
    problems = listed.problems + plan.problems
    if not dry:
        fetching.require_space(out, plan, jobs)
        problems += fetching.fetch(download, choice, listed, plan)
        download.manifest.save()
    return listed, problems


def there(out: pathlib.Path) -> set[str]:
    """Files of the capture, lists aside."""
    found = {path.relative_to(out / ENTITY).as_posix() for path in (out / ENTITY).rglob("*") if path.is_file()}
    return found - {"index.html", "CHECKSUM"}


def all_files() -> dict[str, bytes]:
    found = {}
    for content in tars().values():
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            found |= {member.name.removeprefix(f"{ENTITY}/"): archive.extractfile(member).read() for member in archive}
    return found


def test_all_of_it_and_a_second_run(server, tmp_path):
    assets = tuple(published.ASSETS)
    _, problems = fetch(server, tmp_path, assets=assets)
    expected = all_files()
    assert problems == [] and there(tmp_path) == expected.keys()
    assert all((tmp_path / ENTITY / name).read_bytes() == content for name, content in expected.items())
    server.log.clear()
    listed, problems = fetch(server, tmp_path, assets=assets)
    assert problems == [] and not listed.items and len(listed.there) == len(tars()) and not server.requests(".tar")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"assets": ("mesh",)}, lambda name: name.startswith("tracked_mesh/")),
        ({"expressions": ("E001",)}, lambda name: SHORT in name or "/" not in name),
        ({"averages_only": True, "assets": ("texture",)}, lambda name: "/average/" in name),
        ({"cameras": CAMERAS[:1], "assets": ("image", "texture")}, lambda name: "/average/" in name or f"/{CAMERAS[0]}/" in name),
    ],
)
def test_only_what_is_asked_for(server, tmp_path, chosen, expected):
    _, problems = fetch(server, tmp_path, **chosen)
    assert problems == []
    assert there(tmp_path) == {name for name in all_files() if expected(name) and not name.startswith("audio")}
    if chosen.get("averages_only"):
        assert not server.requests(f"{LONG}_cam4")  # of a split segment the average's tar alone


def test_more_of_a_tar_adds_to_what_is_there(server, tmp_path):
    fetch(server, tmp_path, assets=("image",), cameras=CAMERAS[:1])
    fetch(server, tmp_path, assets=("image",), cameras=CAMERAS[1:])
    listed, _ = fetch(server, tmp_path, assets=("image",), cameras=CAMERAS)
    assert not listed.items and len(there(tmp_path)) == 2 * 2 * 2  # segments, cameras, frames


def test_what_was_lost_or_damaged_is_fetched_again(server, tmp_path):
    fetch(server, tmp_path, assets=("mesh",))
    lost, damaged = (tmp_path / ENTITY / "tracked_mesh" / segment / f"{FRAMES[0]}.bin" for segment in (SHORT, LONG))
    content = damaged.read_bytes()
    lost.unlink()
    damaged.write_bytes(bytes(len(content)))
    listed, _ = fetch(server, tmp_path, assets=("mesh",), verify=True)
    assert len(listed.items) == 2 and lost.is_file() and damaged.read_bytes() == content


@pytest.mark.parametrize(
    "fault",
    [Fault("drop", at=900, count=2), Fault("corrupt", at=700), Fault("short", at=100), Fault("whole", count=2), Fault("status", at=503)],
)
def test_a_server_that_fails_for_a_while_is_asked_again(server, tmp_path, fault):
    name = f"images--{SHORT}.tar"
    server.faults[f"{ROOT}/{name}"] = [fault]
    _, problems = fetch(server, tmp_path, assets=("image",), expressions=(SHORT,))
    assert problems == [] and len(there(tmp_path)) == 4


def test_a_tar_that_never_has_its_sum_is_not_unpacked(server, tmp_path):
    name = f"images--{SHORT}.tar"
    server.faults[f"{ROOT}/{name}"] = [Fault("corrupt", at=700, count=-1)]
    _, (problem,) = fetch(server, tmp_path, assets=("image", "mesh"), expressions=(SHORT,))
    assert problem.path == f"{ENTITY}/{name}" and "MD5" in problem.text
    assert there(tmp_path) == {name for name in all_files() if name.startswith(f"tracked_mesh/{SHORT}")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tar({f"{ENTITY}/KRT": b"k", "../../outside": b"x"}), "whose name has an empty part"),
        (tar({f"{ENTITY}/KRT": b"k", "/absolute": b"x"}), "whose name is absolute"),
        (tar({f"{ENTITY}/KRT": b"k"}, *[tarfile.TarInfo("link")]), ""),
        (tars()["metadata.tar"][:700], "tar"),
        (b"no tar at all" * 100, "is no whole tar"),
    ],
)
def test_a_hostile_tar_writes_nothing(tmp_path, content, message):
    if not message:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        content, message = tar({f"{ENTITY}/KRT": b"k"}, info), "no plain file or folder"
    with Server(tree({"metadata.tar": content})) as server:
        _, (problem,) = fetch(server, tmp_path / "out", assets=("metadata",))
    assert message in problem.text and "\n" not in problem.text and "not unpacked" in problem.text
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"index.html", "CHECKSUM", "ava_download.json"}


def test_a_stop_between_fetching_and_noting_is_gone_on_with(server, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "save", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, assets=("mesh",), jobs=1)
    monkeypatch.undo()
    server.log.clear()
    _, problems = fetch(server, tmp_path, assets=("mesh",), jobs=1)
    assert problems == [] and not list(tmp_path.rglob("*.tar"))
    assert len(server.requests(".tar", "GET")) == 1  # the tar that lay there is unpacked; the other one is fetched


def test_too_little_space_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 67_120_000, 67_120_000))
    with pytest.raises(ValueError, match="more are needed while tars are unpacked"):
        fetch(server, tmp_path, assets=("image",))
    assert not server.requests(".tar", "GET")


def test_what_the_lists_lack_is_told(server, tmp_path):
    listed, (problem,) = fetch(server, tmp_path, expressions=("E999",), assets=("mesh",))
    assert "lists nothing that is asked for (mesh of E999)" in problem.text and not listed.items
    del server.files[f"{ROOT}/CHECKSUM"]
    _, (problem,) = fetch(server, tmp_path / "other")
    assert "404" in problem.text and "whether its tars are whole" in problem.text


def test_the_published_config_file(tmp_path):
    path = tmp_path / "config.json"
    tree_ = {"entity": [ENTITY], "image": False, "mesh": True, "texture": True, "metadata": True, "audio": False, "expression": ["E001"]}
    path.write_text(json.dumps(tree_))
    assert published.read_config(path) == {"entities": (ENTITY,), "assets": ("mesh", "texture", "metadata"), "expressions": ("E001",)}
    for change, message in (
        ({"imag": True}, "the nearest are image"),
        ({"mesh": 1}, "mesh must be true or false"),
        ({"entity": 1}, "must be {"),
    ):
        path.write_text(json.dumps(tree_ | change))
        with pytest.raises(ValueError, match=message):
            published.read_config(path)
    with pytest.raises(ValueError, match="which entities"):
        Choice(())
    with pytest.raises(ValueError, match="must be names"):
        Choice(("../up",))


def test_as_it_is_typed(server, tmp_path):
    config = tmp_path / "download_config.json"
    config.write_text(json.dumps({"entity": [ENTITY], "image": True, "metadata": True}))
    out = tmp_path / "DATA"

    def run(*args):
        command = [sys.executable, "-m", "ava_jax.bin.ava", "multiface", "download", f"--out={out}", f"--base_url={server.url}"]
        done = subprocess.run([*command, f"--config_file={config}", *args], capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    status, text, err = run("--dry_run")
    assert (status, err) == (0, "") and not out.exists()
    assert re.search(r"^in all +4 +[\d.]+ kB +0 +0 bytes$", text, re.M)
    status, text, err = run(f"--entities={ENTITY},6795937")
    assert re.search(r": 4 tars unpacked, [\d.]+ kB fetched in \d+ s, 0 were there, 1 missing\n$", text)
    assert status == 1 and "may name the entity whole" in err.splitlines()[0]
    assert err.splitlines()[-1].startswith("ava multiface download: not all is there; listed above are 1 missing")
    status, text, err = run("--pretrained")
    assert (status, err) == (0, "") and (out / "6795937_model.pth").read_bytes() == server.files["PretrainedModel/6795937_model.pth"]
