"""The training split held on the devices: read once, and each step gathers its batch there.

For samples so small, or steps so short, that reading and copying a batch per step would take longer than the step. Of several processes,
each reads the whole split.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
import tqdm
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ava_jax.core.amounts import size
from ava_jax.core.parallel import BATCH_AXIS
from ava_jax.core.sampling import Source
from ava_jax.core.types import Batch
from ava_jax.data.pipeline import read_sample
from ava_jax.train import step as steps

_OF_HOST_MEMORY = 0.8  # of what is available, as much may be used
_INSTEAD = "config.data.on_device = False reads batches as they are needed"


@dataclasses.dataclass(frozen=True)
class Resident:
    """All samples of a split on the devices.

    Attributes:
      arrays: name -> array [N, ...], the same on every device; rows that are not readable are 0.
      readable: bool [N], on the host; the source gives None in place of the others.
    """

    arrays: Batch
    readable: np.ndarray

    def batch(self, indices: np.ndarray) -> Batch:
        """The samples of `indices`, int [B], on the host: name -> array [B, ...]."""
        return jax.tree.map(lambda array: np.asarray(array.addressable_data(0)[indices]), self.arrays)


def load(source: Source, sharding: NamedSharding, *, threads: int, unit: str = "sample") -> Resident:
    """Reads every sample of a source, in parallel, and puts them on the devices; says how many bytes they are.

    Args:
      source: samples of one size.
      sharding: from `step.replicated`.
      threads: readers, one at least.
      unit: what a sample is called.

    Raises:
      ValueError: samples differ in size, none can be read, one fails, or they take more memory than there is.
    """
    began = time.perf_counter()
    first, sample = next(((i, s) for i in range(len(source)) if (s := read_sample(source, i)) is not None), (-1, None))
    if sample is None:
        raise ValueError(f"none of the {len(source)} samples of {source!r} can be read.")
    held = jax.tree.map(lambda a: np.zeros((len(source), *np.shape(a)), jax.dtypes.canonicalize_dtype(np.asarray(a).dtype)), sample)
    used = sum(array.nbytes for array in jax.tree.leaves(held))
    _check_memory(used, len(source), sharding)
    readable = np.zeros(len(source), bool)

    def read(index: int) -> None:
        one = sample if index == first else read_sample(source, index)
        if one is not None:
            _write(held, one, index, source)
            readable[index] = True

    with concurrent.futures.ThreadPoolExecutor(max(threads, 1)) as readers:
        jobs = [readers.submit(read, index) for index in range(first, len(source))]
        try:
            for job in _with_progress(jobs, unit):
                job.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    arrays = jax.block_until_ready(steps.put(held, sharding))
    seconds = time.perf_counter() - began
    missing = len(source) - int(readable.sum())
    left_out = f"; {missing:,} cannot be read and are left out" if missing else ""
    rate = len(source) / seconds
    print(f"on the device: {size(used)}, {len(source):,} samples in {seconds:.1f} s ({rate:.3g} per second){left_out}", flush=True)
    return Resident(arrays, readable)


def gather(arrays: Batch, indices: jax.Array, mesh: Mesh) -> Batch:
    """A batch by its samples' indices, int [B], of arrays [N, ...], in a traced function: name -> array [B, ...], split over the mesh."""
    rows = jax.shard_map(
        lambda arrays, here: jax.tree.map(lambda array: array.at[here].get(mode="promise_in_bounds"), arrays),
        mesh=mesh,
        in_specs=(P(), P(BATCH_AXIS)),
        out_specs=P(BATCH_AXIS),
        check_vma=False,
    )(arrays, indices)
    # Not fused into what reads the batch: the step's own operations are then those of a batch that came from the host, bit for bit.
    return lax.optimization_barrier(rows)


def _write(held: Any, sample: Batch, index: int, source: Source) -> None:
    rows, structure = jax.tree.flatten_with_path(held)
    leaves, own = jax.tree.flatten(sample)
    for (path, row), leaf in zip(rows, leaves):
        if own != structure or row.shape[1:] != np.shape(leaf):
            name, shapes = jax.tree_util.keystr(path), f"{list(np.shape(leaf))}, not {list(row.shape[1:])}"
            raise ValueError(f"data.on_device needs samples of one size; {name} of sample {index} of {source!r} is {shapes}. {_INSTEAD}.")
        row[index] = leaf


def _with_progress(jobs: list[concurrent.futures.Future], unit: str) -> tqdm.tqdm:
    """The jobs as they are done, with a bar at a terminal."""
    return tqdm.tqdm(
        concurrent.futures.as_completed(jobs),
        total=len(jobs),
        desc="reading onto the device",
        unit=unit,
        file=sys.stdout,
        dynamic_ncols=True,
        delay=1.0,  # seconds; what is quicker shows none
        leave=False,
        disable=not sys.stdout.isatty(),
    )


def _check_memory(used: int, count: int, sharding: NamedSharding) -> None:
    """Whether that many bytes fit beside what there is already.

    Raises:
      ValueError: they do not.
    """
    devices = sharding.addressable_devices
    known = [stats for device in devices if (stats := device.memory_stats()) and "bytes_limit" in stats]
    free = min((stats["bytes_limit"] - stats["bytes_in_use"] for stats in known), default=None)
    if free is not None and used > free:
        raise ValueError(f"data.on_device: {count:,} samples take {size(used)}, and the device has {size(free)} free. {_INSTEAD}.")
    # They are put together on the host first; a device that is the host holds them once more, and so does each of several.
    copies = 1 + sum(device.platform == "cpu" for device in devices)
    allowed = int(_available_host_memory() * _OF_HOST_MEMORY)
    if used * copies > allowed:
        times = f" {copies} times" if copies > 1 else ""
        raise ValueError(
            f"data.on_device: {count:,} samples take {size(used)}{times} of the host's memory, and {size(allowed)} may be used. {_INSTEAD}."
        )


def _available_host_memory() -> int:
    """Bytes that can be had without swapping; where the system does not say, all there are."""
    information = pathlib.Path("/proc/meminfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
