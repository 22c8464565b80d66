"""How long `ava verify` takes over captures of full size, and in how much memory.

  python scripts/bench_verify.py --capture=CAPTURES/<mcd>--<mct>--<sid> --folder=SCRATCH --captures=50 --frames=5000 --cameras=80

The captures are simulated as those of bench_index.py, whose flags it has: zips whose directories list every frame, but for 0.1% of the
images, all entries pointing at one member; the first capture has such zips, the others are links to them. Everything is read and decoded
as it would be; only the disk holds less, and it is all in the page cache: what a disk adds is 0.35 MB per zip.

Measured, each in a process of its own: the structure of all captures; structure and a sample of the contents of the first few.
"""

import json
import pathlib
import shutil
import time

import bench_index
from absl import app, flags

_SAMPLED = flags.DEFINE_integer("sampled", 2, "Captures whose contents are sampled.")


def main(_) -> None:
    folder = pathlib.Path(flags.FLAGS.folder)
    shutil.rmtree(folder, ignore_errors=True)
    bench_index.write_captures(pathlib.Path(flags.FLAGS.capture), folder / "captures")
    report = {
        "captures": flags.FLAGS.captures,
        "frames": flags.FLAGS.frames,
        "cameras": flags.FLAGS.cameras,
        "threads": flags.FLAGS.threads,
    }
    for name, stage in {"structure": structure, "sample": sample}.items():
        config = bench_index._config()
        config.data.sampled = _SAMPLED.value
        report[name] = in_process(stage, config)
        print(f"{name:12}", "  ".join(f"{key} {value:,.6g}" for key, value in report[name].items()), flush=True)
    if flags.FLAGS.out:
        pathlib.Path(flags.FLAGS.out).write_text(json.dumps(report, indent=1) + "\n")
    shutil.rmtree(folder)


def in_process(stage, config) -> dict[str, float]:
    """As `bench_index.in_process`."""
    import concurrent.futures
    import multiprocessing

    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(bench_index._measured, stage, config).result()


def structure(config) -> dict[str, float]:
    return _verify(config, "none", None)


def sample(config) -> dict[str, float]:
    return _verify(config, "sample", config.data.sampled)


def _verify(config, images: str, most: int | None) -> dict[str, float]:
    from ava_jax.captures.verify import report, tree
    from ava_jax.captures.verify.contents import Depth

    begin = time.perf_counter()
    books = tree.verify(tree.find([pathlib.Path(config.data.root)])[:most], Depth(images), threads=config.data.read_threads)
    totals = report.totals(books)
    if totals["broken"]:
        raise RuntimeError(report.text(books))
    return {"seconds": time.perf_counter() - begin, **{key: totals[key] for key in ("captures", "zips", "notes")}}


if __name__ == "__main__":
    app.run(main)
