"""One training in several processes, of one host or many: how they find each other, and what they have to agree on.

Every process runs the same program on the same global arrays; each reads its own part of a batch. What is decided by the state or by
what a step measured is decided alike everywhere. What is not (a signal, a position in the data) is exchanged here.
"""

import json
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_AUTOMATIC = "auto"


def start(coordinator: str, count: int | None, index: int | None) -> None:
    """Joins the other processes; call it before anything else of jax.

    Args:
      coordinator: HOST:PORT of process 0; or "auto", where the cluster (Slurm, Open MPI, Kubernetes, TPU) tells jax everything.
      count, index: how many there are, and which one this is. With "auto": None.

    Raises:
      ValueError: they do not make sense together.
    """
    if coordinator == _AUTOMATIC:
        if count is not None or index is not None:
            raise ValueError("--coordinator=auto finds --processes and --process_index itself: leave them out.")
        jax.distributed.initialize()
        return
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ValueError(f"--coordinator must be HOST:PORT of process 0, or auto; got {coordinator!r}.")
    if count is None or index is None or not 0 <= index < count:
        raise ValueError(f"--coordinator={coordinator} needs --processes=N and --process_index in 0..N-1; got {count} and {index}.")
    jax.distributed.initialize(coordinator, num_processes=count, process_id=index)


def several() -> bool:
    """Whether this training has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """What each process has, JSON, in order of their indices. All of them call it."""
    if not several():
        return [value]
    mine = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(mine.size)).reshape(-1)
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: mine.size] = mine
    rows = multihost_utils.process_allgather(padded).reshape(len(lengths), -1)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def barrier(name: str) -> None:
    """Returns when all processes are here."""
    if several():
        multihost_utils.sync_global_devices(name)
