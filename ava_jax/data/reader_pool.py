"""Processes that read samples into shared memory: see `reader_process`, which is what they run."""

import os
import pickle
import signal
import subprocess
import sys
from typing import NamedTuple

from ava_jax.core.sampling import Separable
from ava_jax.data.reader_process import REPLY, REQUEST, Outcome
from ava_jax.data.shared_rows import Blocks

_PATIENCE = 5.0  # seconds in which a process must end that nobody asks any more


class Reply(NamedTuple):
    """How a request went; `fault` says what is wrong with a sample that cannot be decoded."""

    outcome: Outcome
    fault: str = ""


class ReaderPool:
    """Reads samples of a source in processes of their own, which end with it. Each answers its requests in order."""

    def __init__(self, source: Separable, blocks: Blocks, count: int) -> None:
        """Starts `count` processes.

        Raises:
          OSError: they cannot be started.
        """
        self._processes: list[subprocess.Popen] = []
        self._requests: list[int] = []
        self._replies: list[int] = []
        for _ in range(count):
            self._start(blocks.descriptor)
        content = pickle.dumps((source.part(count), blocks.layout, blocks.count), pickle.HIGHEST_PROTOCOL)
        for process in range(count):
            self._send(process, content)

    def _start(self, memory: int) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._requests.append(ours_out)
        self._replies.append(ours_in)
        try:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "ava_jax.data.reader_process", *map(str, (theirs_in, theirs_out, memory))],
                    pass_fds=(theirs_in, theirs_out, memory),
                    stdin=subprocess.DEVNULL,
                    env=_environment(),
                )
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def __del__(self, close=os.close) -> None:  # bound here: at the interpreter's end the module's names are gone
        for descriptor in self._requests + self._replies:  # they end when there is nobody to ask them
            close(descriptor)
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:  # it waits for a server that does not answer, and writes nothing that could be lost
                process.kill()
                process.wait()

    def request(self, process: int, index: int, block: int, row: int) -> None:
        """Asks a process for a sample, to be written into a row of a block.

        Raises:
          ChildProcessError: the process is gone.
        """
        self._send(process, REQUEST.pack(index, block, row))

    def reply(self, process: int) -> Reply:
        """Waits for the answer to the first request that a process has not answered yet.

        Raises:
          ChildProcessError: the process is gone.
          Whatever reading raised.
        """
        outcome, length = REPLY.unpack(self._receive(process, REPLY.size))
        content = self._receive(process, length)
        if outcome == Outcome.RAISED:
            raise pickle.loads(content)
        return Reply(Outcome(outcome), content.decode())

    def _send(self, process: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(self._requests[process], rest) :]
            except BrokenPipeError:
                raise ChildProcessError(self._why_gone(process)) from None

    def _receive(self, process: int, count: int) -> bytes:
        parts = []
        while count:
            part = os.read(self._replies[process], count)
            if not part:
                raise ChildProcessError(self._why_gone(process))
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _why_gone(self, process: int) -> str:
        code = self._processes[process].wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"a process that reads data {how}{hint}; config.data.read_processes = 0 reads in threads of this one."


def _environment() -> dict[str, str]:
    """Modules are found where this process finds them; jax, should anything ask it, is to leave the accelerators alone."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "JAX_PLATFORMS": "cpu"}
