"""Times an avatar: encode, decode, render and all of it, in ms and frames/s, with the weights of a run on the device at hand.

  ava ava256 benchmark --workdir=RUN
  ava ava256 benchmark --workdir=RUN --height=1024 --width=667 --batch=1,4 --json=speed.json

Needs the run's folder alone. The first call of each part, which compiles, is not timed; times are medians of --rounds calls, each waited
for. Faces are the neutral ones of the run's people, cameras stand around their heads. The peak of the device's memory is told where the
backend tells it, as CUDA does and CPUs do not.
"""

import json
import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_step, define_workdir

_MOST_FACES = 4

_WORKDIR = define_workdir()
_HEIGHT = flags.DEFINE_integer("height", None, "Of pictures, pixels; by default as trained.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", None, "Of pictures, pixels; by default as trained.", lower_bound=1)
_BATCH = flags.DEFINE_list("batch", ["1"], "Frames at a time, one or more numbers with commas between.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed calls of each part.", lower_bound=1)
_STEP = define_step()
_JSON = flags.DEFINE_string("json", None, "Write the figures to this file; by default to RUN/benchmark/<step>.json.")


def main(context: Context) -> None:
    """Measures, prints and writes, as the flags say."""
    if not _BATCH.value or not all(text.strip().isdecimal() and int(text) for text in _BATCH.value):
        raise ValueError(f"--batch must be numbers from 1 on, as in --batch=1,4; got {','.join(_BATCH.value)!r}.")
    config, assets, _, model, step = context.restore(_WORKDIR.value, _STEP.value)
    import jax  # imported here, so that --help stays quick
    import numpy as np

    from ava_jax.data import files
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.data import neutrals
    from ava_jax.tasks.ava256.evaluation import speed

    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    avatar = Avatar(context.compile(model), config, assets, workdir, step)
    trained = np.asarray(assets.arrays.get("sensor", (4096, 2668))) // config.data.downsample
    height, width = _HEIGHT.value or int(trained[0]), _WIDTH.value or int(trained[1])
    device = jax.local_devices()[0]
    about = {
        "step": step,
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "height": height,
        "width": width,
        "primitives": config.model.primitives_per_side**2,
        "texture_size": config.model.texture_size,
        "precision": config.model.precision,
        "rounds": _ROUNDS.value,
    }
    if (workdir / neutrals.FILE).is_file():
        faces, about["faces"] = avatar.neutral(*avatar.identities[:_MOST_FACES]), "neutral faces of the run's people"
    else:  # imported weights may have none
        mean = (np.asarray(assets.arrays[name])[None] for name in ("texture_mean", "vertices_mean"))
        faces, about["faces"] = neutrals.Neutral(*mean), "the mean face: the run has no neutral faces"
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    timings = []
    for batch in map(int, _BATCH.value):
        timings += speed.measure(avatar, faces, batch, height, width, rounds=_ROUNDS.value)
    peak = speed.peak_gib()
    print(f"\n{speed.text(timings)}\n\npeak memory: {'not told by this backend' if peak is None else f'{peak:.2f} GiB'}")
    path = pathlib.Path(_JSON.value).expanduser() if _JSON.value else workdir / "benchmark" / f"{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = about | {"parts": speed.PARTS, "timings": [timing._asdict() for timing in timings], "peak_gib": peak}
    files.replace(path, json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
