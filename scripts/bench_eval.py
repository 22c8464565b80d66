"""How fast images are evaluated, as `ava eval` does it, and what of that each part would allow alone.

  python scripts/bench_eval.py --workdir=RUN --captures=CAPTURES --downsample=4 --samples=400
  python scripts/bench_eval.py --workdir=RUN --captures=CAPTURES --downsample=32 --samples=16 --lpips=alex

Images per second of all samples at hand, the first --samples, evenly spaced. Each stage runs twice, and the second time counts: the first
compiles, and warms the files.

  read     samples are read and put together to batches, and nothing else
  render   and each is encoded, decoded and rendered
  scores   and scored on the device: all that `ava eval` computes by default, and LPIPS by --lpips
  all      and the baseline is scored, and rows are made: the whole evaluation

LPIPS has random weights here, which take as long as trained ones.
"""

import json
import time
from collections.abc import Callable, Iterable

import jax
import numpy as np
from absl import flags

from ava_jax.bin import _main
from ava_jax.data.workers import cores
from ava_jax.metrics import lpips
from ava_jax.run import evaluation
from ava_jax.run.prediction import batches
from ava_jax.tasks.ava256.evaluation import networks
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_STEP = define_step()
_DOWNSAMPLE = flags.DEFINE_integer("downsample", None, "Of the images; by default the run's.", lower_bound=1)
_SAMPLES = flags.DEFINE_integer("samples", 64, "How many images.", lower_bound=2)
_BATCH = flags.DEFINE_integer("batch", None, "Images per batch; by default the run's.", lower_bound=1)
_LPIPS = flags.DEFINE_list("lpips", list(lpips.NETWORKS), "Networks of LPIPS; empty: none.")


def random_weights(files) -> dict[str, lpips.Weights]:
    """Of the shapes that trained ones have."""
    rng = np.random.default_rng(0)
    sizes = {network: lpips.shapes(network) for network in files.files}
    return jax.device_put(
        {network: {name: rng.standard_normal(s).astype(np.float32) * 0.05 for name, s in of.items()} for network, of in sizes.items()}
    )


def main(context: Context) -> None:
    networks.Lpips.load = random_weights
    options = {f"eval.lpips_{network}": "random" for network in _LPIPS.value if network}
    options |= {"data.root": _DATA.value, "data.downsample": _DOWNSAMPLE.value, "eval.batch_size": _BATCH.value}
    config, assets, task, model, step = context.restore(
        _WORKDIR.value, _STEP.value, overrides={**options, "eval.all": True, "eval.max_samples": _SAMPLES.value}
    )
    compile_model = context.compile(model)
    source = task.source("selected", assets)
    how = {"threads": config.data.read_threads, "readers": min(config.data.get("read_processes", 0), cores())}
    size = task.captures.image_size(config.data.downsample)
    render, score = compile_model(lambda model, batch: model.reconstruct(batch)), task.predictor(compile_model)

    def through(predict: Callable) -> Callable[[], int]:
        def run() -> int:
            return exhaust((jax.block_until_ready(prediction), count) for prediction, _, count in batches_of(predict))

        return run

    def batches_of(predict: Callable) -> Iterable:
        return batches(source, config.eval.batch_size, predict, **how)

    def whole() -> int:
        return len(evaluation.evaluate(task, assets, lambda _: score, ["selected"], **how)["selected"].rows)

    task.predictor = lambda _: score  # compiled once for both stages
    found = {
        "device": jax.devices()[0].device_kind,
        "size": list(size),
        "step": step,
        "batch": config.eval.batch_size,
        "lpips": _LPIPS.value,
    }
    for name, stage in {"read": through(lambda batch: 0), "render": through(render), "scores": through(score), "all": whole}.items():
        found[name] = round(rate(stage), 2)
        print(json.dumps(found), flush=True)


def rate(stage: Callable[[], int]) -> float:
    """Images per second of the second run."""
    stage()
    start = time.perf_counter()
    count = stage()
    return count / (time.perf_counter() - start)


def exhaust(predictions: Iterable) -> int:
    """How many samples there were."""
    return sum(count for _, count in predictions)


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
