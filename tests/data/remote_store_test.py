"""Files below a URL, read in ranges: what is fetched, what is kept, what is said when a server fails."""

import pickle
import types

import numpy as np
import pytest
import range_server
from range_server import RangeServer

from ava_jax.data import archive, npy_files, text_files, zip_directory
from ava_jax.data.remote import location, web
from ava_jax.data.remote import store as stores
from ava_jax.data.remote.blocks import BLOCK, GROUP
from ava_jax.data.remote.store import Store

NUMBERS = np.arange(100, 160, dtype=np.int32)


@pytest.fixture
def served(tmp_path):
    """A server of a zip of 60 members of some 50,000 bytes, of which one is deflated text, and of small files."""
    folder = tmp_path / "served"
    members = [(f"cam/{n:06d}.bin", np.random.default_rng(n).bytes(50_000 + n)) for n in NUMBERS.tolist()]
    archive.write(folder / "a b" / "cam7.zip", members)
    (folder / "list.csv").write_text("a,b\n1,2\n")
    np.save(folder / "mean.npy", np.arange(12.0).reshape(4, 3))
    with RangeServer(folder) as server:
        yield server


def at(server, tmp_path, *, cache=1 << 24, seconds=5.0):
    """The server's folder, with a cache of its own."""
    return location.RemotePath(Store(server.url, cache=tmp_path / "cache", cache_bytes=cache, retry_seconds=seconds))


def test_members_are_as_from_the_file_here(served, tmp_path):
    path = at(served, tmp_path) / "a b" / "cam7.zip"
    here = served.folder / "a b" / "cam7.zip"
    for archives in (archive.Archives(), archive.Archives(tmp_path / "index")):
        there = archives.index([path], np.arange(90, 170, dtype=np.int32))
        assert np.flatnonzero(there[0]).tolist() == list(range(10, 70))
        for number in (130, 100, 159, 95):
            assert archives.read(path, number) == archive.Archives().read(here, number)
    np.testing.assert_array_equal(zip_directory.read(path), zip_directory.read(here))


def test_small_files_are_read_as_files_are(served, tmp_path):
    root = at(served, tmp_path)
    assert text_files.read(root / "list.csv") == "a,b\n1,2\n" and (root / "list.csv").read_bytes() == b"a,b\n1,2\n"
    np.testing.assert_array_equal(npy_files.read(root / "mean.npy"), np.arange(12.0).reshape(4, 3))
    fetched = served.sent
    assert (root / "list.csv").read_bytes() and npy_files.read(root / "mean.npy").any() and served.sent == fetched  # once
    with pytest.raises(ValueError, match=r"none\.csv: cannot be read"):
        text_files.read(root / "none.csv")


def test_a_proxy_is_used(served, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", served.url)
    monkeypatch.setenv("no_proxy", "")
    root = location.RemotePath(Store("http://data.example", cache=tmp_path / "cache", cache_bytes=1 << 24, retry_seconds=1.0))
    assert text_files.read(root / "list.csv") == "a,b\n1,2\n"
    assert all(path.startswith("http://data.example/") for path, _ in served.asked)


def test_paths_behave_as_paths(served, tmp_path):
    root = at(served, tmp_path)
    path = root / "a b" / "cam7.zip"
    assert str(path) == f"{served.url}/a b/cam7.zip" and (path.name, path.stem, path.suffix) == ("cam7.zip", "cam7", ".zip")
    assert path.parent == root / "a b" and path.with_name("x.csv") == root / "a b/x.csv" and path.absolute() is path
    assert path.relative_to(root / "a b").as_posix() == "cam7.zip" and len({path, root / "a b" / "cam7.zip"}) == 1
    assert path.is_file() and not (root / "none").is_file()
    assert pickle.loads(pickle.dumps(path)).read_at(10, 20) == path.read_at(10, 20)
    assert path.read_at(path.stat().st_size - 5, 100) == (served.folder / "a b" / "cam7.zip").read_bytes()[-5:]


def test_a_url_is_told_from_a_path(tmp_path):
    for text in ("https://host/a", "s3://bucket/a", "file:///a"):
        assert location.is_url(text)
    for text in ("a/b", "/a//b", "C:\\a", "~/a", ""):
        assert not location.is_url(text)
    assert location.at(str(tmp_path)) == tmp_path


def test_the_directory_of_a_zip_is_fetched_once_and_not_kept(served, tmp_path):
    for name in ("b.zip", "c.zip"):
        (served.folder / name).write_bytes((served.folder / "a b" / "cam7.zip").read_bytes())
    root = at(served, tmp_path)
    for name in ("a b/cam7.zip", "b.zip", "c.zip"):
        before = len(served.requests)
        zip_directory.read(root / name)
        assert [method for method, _, _ in served.requests[before:]] == ["HEAD", "GET"]
    assert not list((tmp_path / "cache").glob("*/*"))


def test_what_is_kept_is_not_fetched_again_not_even_by_the_next_run(served, tmp_path):
    for again in (False, True):
        path = at(served, tmp_path) / "a b" / "cam7.zip"
        archives = archive.Archives(tmp_path / "index")
        archives.index([path], NUMBERS)
        before = served.sent
        for number in NUMBERS[::7].tolist():
            assert len(archives.read(path, number)) == 50_000 + number
        assert (served.sent == before) == again


def test_neighbours_are_fetched_where_everything_fits_and_random_members_alone_where_not(served, tmp_path):
    everything = (served.folder / "a b" / "cam7.zip").stat().st_size
    fetched = {}
    for cache in (4 * everything, 2 * GROUP):
        root = location.RemotePath(Store(served.url, cache=tmp_path / str(cache), cache_bytes=cache, retry_seconds=5.0))
        before = served.sent
        assert (root / "a b" / "cam7.zip").read_at(GROUP + 5, 50_000)
        fetched[cache] = served.sent - before
    assert list(fetched.values()) == [GROUP, BLOCK]
    begin, before = 2 * GROUP + 100, len(served.requests)
    for i in range(20):  # in order: the rest of the stretch is read on
        assert (root / "a b" / "cam7.zip").read_at(begin + 40_000 * i, 40_000)
    assert len(served.requests) - before <= 4


def test_the_cache_stays_within_its_bound_and_gives_what_the_server_has(served, tmp_path):
    limit = 6 * BLOCK
    root, here = at(served, tmp_path, cache=limit), (served.folder / "a b" / "cam7.zip").read_bytes()
    path, rng = root / "a b" / "cam7.zip", np.random.default_rng(0)
    for offset in rng.integers(0, len(here), 60).tolist():
        assert path.read_at(offset, 30_000) == here[offset : offset + 30_000]
        assert root.store._blocks.held() <= limit


def test_no_cache_is_needed(served, tmp_path):
    here = (served.folder / "a b" / "cam7.zip").read_bytes()
    for store in (
        Store(served.url, cache=None, cache_bytes=1, retry_seconds=1),
        Store(served.url, cache=tmp_path, cache_bytes=0, retry_seconds=1),
    ):
        assert location.RemotePath(store, "a b/cam7.zip").read_at(77, 1000) == here[77:1077]


@pytest.mark.parametrize("fault", [range_server.DROP, range_server.TRUNCATE, range_server.BUSY, range_server.WRONG_RANGE, 429, 500])
def test_what_may_pass_is_asked_again(served, tmp_path, fault):
    path, rng = at(served, tmp_path) / "a b" / "cam7.zip", np.random.default_rng(0)
    assert path.is_file()
    served.fault = lambda method, _: fault if rng.random() < 0.4 else None
    here = (served.folder / "a b" / "cam7.zip").read_bytes()
    for offset in range(0, len(here), GROUP):
        assert path.read_at(offset, 1000) == here[offset : offset + 1000]


def test_what_was_damaged_on_its_way_is_fetched_again(served, tmp_path):
    path = at(served, tmp_path) / "a b" / "cam7.zip"
    archives = archive.Archives()
    archives.index([path], NUMBERS)
    faults = 3 * [range_server.CORRUPT]
    served.fault = lambda method, _: faults.pop() if faults and method == "GET" else None
    number = 110  # the middle of the stretch of bytes that comes with it
    assert archives.read(path, number) == archive.Archives().read(served.folder / "a b" / "cam7.zip", number) and not faults
    served.fault = lambda method, _: range_server.CORRUPT
    (tmp_path / "cache").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match="is damaged"):
        archives.read(path, number)


def test_a_file_that_changes_is_fetched_anew_by_the_next_run(served, tmp_path):
    assert (at(served, tmp_path) / "list.csv").read_bytes() == b"a,b\n1,2\n"
    (served.folder / "list.csv").write_text("a,b\n3,4\n")
    assert (at(served, tmp_path) / "list.csv").read_bytes() == b"a,b\n3,4\n"


def test_what_never_will_be_answered_is_said_at_once(served, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="not there"):
        (at(served, tmp_path) / "none.zip").stat()
    served.fault = lambda method, path: 401
    with pytest.raises(ValueError, match=r"list\.csv: no permission \(401 Unauthorized\); AVA_HTTP_AUTHORIZATION gives a key\.$"):
        (at(served, tmp_path) / "list.csv").is_file()
    served.fault = lambda method, path: range_server.NO_RANGES
    with pytest.raises(ValueError, match=r"cam7\.zip: the server gives no ranges"):
        (at(served, tmp_path) / "a b" / "cam7.zip").read_at(100, 10)
    served.fault = lambda method, path: 403
    root = at(served, tmp_path)
    with pytest.raises(ValueError, match="no permission"):
        (root / "list.csv").is_file()
    served.fault = lambda method, path: 403 if "none" in path else None
    assert (root / "list.csv").is_file() and not (root / "none.csv").is_file()  # as stores of objects say it


def test_a_server_that_does_not_answer_is_given_up_in_the_time_allowed(tmp_path, monkeypatch):
    waits = []
    clock = types.SimpleNamespace(monotonic=lambda: sum(waits), sleep=waits.append)  # whatever the machine is busy with
    monkeypatch.setattr(stores, "time", clock)
    with RangeServer(tmp_path) as server:
        pass
    with pytest.raises(OSError, match=r"list\.csv: no answer in \d+ s \(.*refused"):
        (at(server, tmp_path, seconds=1.0) / "list.csv").stat()
    assert len(waits) > 1 and sum(waits) <= 1.0
    with pytest.raises(ValueError, match=r"a\.zip: cannot be read"):
        archive.Archives().index([at(server, tmp_path, seconds=0.0) / "a.zip"], NUMBERS)


def test_a_key_and_a_signature_go_along_and_are_not_said(served, tmp_path, monkeypatch):
    monkeypatch.setenv(web.AUTHORIZATION, "Bearer SECRET")
    store = Store(f"{served.url}?sig=SECRET", cache=None, cache_bytes=0, retry_seconds=1)
    assert store.info("list.csv").size == 8 and "SECRET" not in store.url
    assert served.asked == [("/list.csv?sig=SECRET", "Bearer SECRET")]
    with pytest.raises(FileNotFoundError) as found:
        store.info("none.csv")
    assert "SECRET" not in str(found.value)


def test_redirects_are_followed_and_the_key_stays_at_home(served, tmp_path, monkeypatch):
    monkeypatch.setenv(web.AUTHORIZATION, "Bearer SECRET")
    with RangeServer(tmp_path / "nothing") as front:
        front.fault = lambda method, path: f"{served.url}{path.replace(' ', '%20')}"
        path = at(front, tmp_path) / "a b" / "cam7.zip"
        assert path.read_at(1000, 50) == (served.folder / "a b" / "cam7.zip").read_bytes()[1000:1050]
        assert {key for _, key in front.asked} == {"Bearer SECRET"} and {key for _, key in served.asked} == {None}
        front.fault = lambda method, path: f"{front.url}{path}"
        with pytest.raises(ValueError, match="answers 302"):
            (at(front, tmp_path) / "list.csv").read_bytes()


def test_folders_are_listed_where_the_server_lists_them(served, tmp_path):
    assert at(served, tmp_path).names() is None
    served.listing = True
    assert at(served, tmp_path).names() == ["a b", "list.csv", "mean.npy"]
    assert (at(served, tmp_path) / "a b").names() == ["cam7.zip"]


def test_other_stores_are_read_by_fsspec(served, tmp_path):
    pytest.importorskip("fsspec")
    root = location.RemotePath(Store(f"file://{served.folder}", cache=tmp_path / "cache", cache_bytes=1 << 24, retry_seconds=0.5))
    path = root / "a b" / "cam7.zip"
    assert archive.Archives().read(path, 130) == archive.Archives().read(served.folder / "a b" / "cam7.zip", 130)
    assert path.is_file() and not (root / "none").is_file() and not (root / "a b").is_file()
    assert sorted(root.names()) == ["a b", "list.csv", "mean.npy"] and pickle.loads(pickle.dumps(path)).stat() == path.stat()


def test_what_is_not_installed_is_one_line(monkeypatch):
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match=r"^s4://a: fsspec knows no s4://"):
        location.at("s4://a")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(
        ValueError, match=r"^s3://bucket/a: fsspec, or its part for s3://, is not installed .*pip install 'ava-jax\[remote\]'\.$"
    ):
        location.at("s3://bucket/a")
    with pytest.raises(ValueError, match="must name a host"):
        location.at("https:///a")
    with pytest.raises(ValueError, match="must be at least 0"):
        location.at("https://host/a", cache_gib=-1)
