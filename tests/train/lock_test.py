"""One training at a time in a run's folder."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from ava_jax.train.lock import FILE, Lock

HOLDER = textwrap.dedent("""
    import pathlib, sys, time
    from ava_jax.train.lock import Lock
    lock = Lock(pathlib.Path(sys.argv[1]))
    lock.take()
    print("held", flush=True)
    time.sleep(60)
""")


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_refused_and_told_who_has_it(tmp_path, holder):
    with Lock(tmp_path) as lock, pytest.raises(ValueError, match=rf"{tmp_path}: process {holder.pid} of .* trains there") as e:
        lock.take()
    assert "\n" not in str(e.value)
    assert (tmp_path / FILE).is_file(), "it is not the refused one's to take away"


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / FILE).is_file()
    with Lock(tmp_path) as lock:
        lock.take()
        assert lock.held and str(os.getpid()) in (tmp_path / FILE).read_text()
    assert not (tmp_path / FILE).exists()


def test_it_can_be_taken_again_when_given_back(tmp_path):
    for _ in range(2):
        with Lock(tmp_path) as lock:
            lock.take()
            lock.take()
            with Lock(tmp_path) as other, pytest.raises(ValueError, match="trains there"):
                other.take()
