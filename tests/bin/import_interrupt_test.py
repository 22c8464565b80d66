"""Ctrl-C while modules in C are being imported, which then abort or raise ImportError: one line and 130 all the same."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from ava_jax.core.interrupts import deferred

_STUB = """
import os, signal, time
class config: update = staticmethod(lambda *values: None)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
except KeyboardInterrupt:
    raise ImportError("Encountered an error while initializing the extension.") from None
"""


def test_it_waits_for_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("imported")
    assert done == ["imported"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with deferred():
        pass


def test_an_error_of_the_block_is_not_hidden():
    with pytest.raises(ImportError), deferred():
        raise ImportError("another")


def test_other_threads_are_left_alone():
    found = []
    thread = threading.Thread(target=lambda: found.extend(_handler_within()))
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def _handler_within():
    with deferred():
        yield signal.getsignal(signal.SIGINT)


@pytest.mark.parametrize("command", ["verify", "pack"])
def test_a_command_that_is_stopped_while_it_imports_jax(tmp_path, command):
    (tmp_path / "jax.py").write_text(_STUB)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    args = [sys.executable, "-m", "ava_jax.bin.ava", command]
    done = subprocess.run(args, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 130 and done.stderr.count("\n") == 1 and "stopped by Ctrl-C." in done.stderr, done.stderr
