"""Packs examples into few large files of which a training step reads no more than it needs.

  ava ldif pack --data=DATA --out=PACKED             # examples of ava ldif prepare
  ava ldif pack --data=OPTIMIZED --out=PACKED        # the published tools' SPLIT/SPLIT-00000-of-00009.tfrecords
  ava train --config=ldif --config.data.root=PACKED --workdir=RUN

2.6 MB per example instead of some 12: places within 4e-7, depths within 3e-5. Run again, it goes on where it was stopped. An example that
cannot be read is told in a line and left out, and the rest goes on. Needs pip install 'ava-jax[ldif]' for .tfrecords.
"""

import pathlib

from absl import flags

from ava_jax.core import amounts
from ava_jax.data.workers import cores

_DATA = flags.DEFINE_string("data", None, "Folder of prepared examples, or of the published tools' records.")
_OUT = flags.DEFINE_string("out", None, "Folder to write: new, or one that the same command was at before.")
_JOBS = flags.DEFINE_integer("jobs", cores(), "Processes, a shard of 64 examples each.", lower_bound=1)


def main() -> None:
    """Packs, as the flags say."""
    if not _DATA.value or not _OUT.value:
        raise ValueError("--data and --out must name folders, as in --data=DATA --out=PACKED.")
    data, out = (pathlib.Path(flag.value).expanduser() for flag in (_DATA, _OUT))
    if data.absolute() == out.absolute():
        raise ValueError("--out must be another folder than --data.")
    from ava_jax.tasks.ldif.data import packing

    found = packing.pack(data, out, jobs=_JOBS.value)
    print(f"{out}: {found.examples:,} examples, {amounts.size(found.size)}")
    if found.faults:
        raise ValueError(
            f"{len(found.faults)} examples could not be read and are not in {out}; all others are. The first: {found.faults[0]}"
        )
