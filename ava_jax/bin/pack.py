"""Packs captures into ArrayRecord shards, which everything reads as it reads the zips; run again, it goes on where it was stopped.

ava pack --data=CAPTURES --out=PACKED                                  # files as they are, byte for byte
ava pack --data=CAPTURES --out=SMALL --height=512 --crop=head          # images resized, cut to the head; calibrations follow
ava train --config=ava256:tiny --config.data.root=PACKED --workdir=RUN
ava pack --data=CAPTURES --out=PACKED --runner=FlinkRunner --runner_options="--flink_master=HOST:8081"
"""

import os
import pathlib

from absl import flags

from ava_jax.bin import _main
from ava_jax.core import amounts

_DATA = flags.DEFINE_string("data", None, "Folder of the captures.")
_OUT = flags.DEFINE_string("out", None, "Folder to write: new, or one that the same command was at before.")
_IDS = flags.DEFINE_string("ids", "", "CSV with the columns mcd,sid,mct of the captures to pack; all by default.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Of the images, before they are cropped, pixels: the sensor's 4096 over a whole number; 0: as they are."
)
_DOWNSAMPLE = flags.DEFINE_integer("downsample", 0, "The same as the number that the sensor is over, as in config.data.downsample.")
_QUALITY = flags.DEFINE_integer("quality", 0, "Of AVIF, 1 to 100; by default 85 where images are resized or cropped, else they are kept.")
_CROP = flags.DEFINE_string("crop", "", "head: cut images to what the meshes of all frames cover; by default whole images.")
_MARGIN = flags.DEFINE_float("margin", 0.1, "On each side of the head, a fraction of what it covers.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes that pack.", lower_bound=1)
_SHARD_MB = flags.DEFINE_integer("shard_mb", 256, "About how large a shard is, MB of the source's bytes.", lower_bound=1)
_RUNNER = flags.DEFINE_string("runner", "", "Pack by a runner of Apache Beam instead: DirectRunner, FlinkRunner, SparkRunner, ...")
_RUNNER_OPTIONS = flags.DEFINE_string(
    "runner_options", "", 'Options of Beam\'s pipeline, as in "--flink_master=HOST:8081 --parallelism=64".'
)
_NAMED = 3


def main() -> None:
    """Packs, as the flags say."""
    if not _DATA.value or not _OUT.value:
        raise ValueError("--data=CAPTURES and --out=PACKED must say what to pack and where to.")
    if _HEIGHT.value and _DOWNSAMPLE.value:
        raise ValueError("--height and --downsample say the same in two ways; give one.")
    from ava_jax.captures.packed import beam, pack, plan  # jax is imported here, so that --help stays quick
    from ava_jax.train.lock import Lock

    downsample = pack.downsample_of(_HEIGHT.value, _DATA.value, _IDS.value) if _HEIGHT.value else _DOWNSAMPLE.value
    settings = plan.Settings(downsample, _QUALITY.value, _CROP.value, _MARGIN.value)
    out = pathlib.Path(_OUT.value).expanduser()
    options = {"ids": _IDS.value, "shard_bytes": _SHARD_MB.value << 20}
    plan.read_set(out)  # refuses what is not a packed set, before the lock is put there
    pack.find(_DATA.value, out, _IDS.value)  # a mistake leaves no folder
    out.mkdir(parents=True, exist_ok=True)
    with Lock(out, doing="packs", instead="--out") as lock:
        lock.take()
        if _RUNNER.value:
            found = beam.pack(_DATA.value, out, settings, runner=_RUNNER.value, options=_RUNNER_OPTIONS.value.split(), **options)
        else:
            found = pack.pack(_DATA.value, out, settings, jobs=_JOBS.value, **options)
    height, width = found.sensor
    print(f"{out}: {found.captures} captures, {found.records} records, {amounts.size(found.bytes)}; sensor {height} x {width}")
    if found.left_out:
        print(f"left out, as they would not fit cropped images: {', '.join(found.left_out)}")
    if found.unreadable:
        more = f"; and {len(found.unreadable) - _NAMED} more" if len(found.unreadable) > _NAMED else ""
        raise ValueError(
            f"{len(found.unreadable)} files could not be read and are not in {out}; all others are: "
            f"{'; '.join(found.unreadable[:_NAMED])}{more}."
        )


def run() -> None:
    """The command ava pack."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
