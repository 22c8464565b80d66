r"""What enrolment gives: people whom a model never saw, from few frames and cameras, beside their own mean texture on their mean mesh.

  python scripts/bench_enrol.py --captures=CAPTURES --folder=SCRATCH --config=ava256:tiny --test_frames=2 --out=FIGURES.json
  python scripts/bench_enrol.py --people=4,16,64 --unseen=8 --folder=SCRATCH --config=ava256:tiny --out=FIGURES.json

The first: each of the captures' people in turn (--unseen=SUBJECT,...: these alone) is left out of a model of the others, in
SCRATCH/without_SUBJECT, which is used where it has been trained already. The person is enrolled for each of --frames and of --tune with
--enrol_cameras, and scored over the face on the last --test_frames frames of the list, which nothing has seen, at the cameras not used for
enrolment. The floor is `ava eval`'s baseline, the mean texture on the mean mesh; zero-shot is the model of the others without enrolment;
`others_gain` is what enrolment does to the model's own people on the same frames and cameras, dB. Three of them drive the person in the
frame of EXP_jaw_open that moves the tracked mesh most: `driven_correlation` and `driven_slope` hold the decoded movement against the
tracked one.

The second: procedural people. Models of the first so many are trained, each for as many steps; the last --unseen are scored by each, before
and after enrolment. It is the curve of what the number of people teaches.

Rows are printed and written as they come; with the same --out, those that are there are not measured again. Seconds are wall time of the
whole enrolment, compilation included. Steps, batch and rates of the models are the config's: --config.train.steps=...
"""

import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import flags

from ava_jax.bin import _main
from ava_jax.data import files
from ava_jax.run import evaluation
from ava_jax.run.inference import Inference
from ava_jax.run.new_run import train_run
from ava_jax.synth import ava256_layout
from ava_jax.tasks.ava256.apps import driving, enrolment, selection
from ava_jax.tasks.ava256.data import source
from ava_jax.tasks.base import RestoredRun
from ava_jax.tasks.command import define_config
from ava_jax.train.checkpoint import Checkpoints, restore_model

_CONFIG = define_config()
_CAPTURES = flags.DEFINE_string("captures", None, "Folder of captures, whose people are left out one by one.")
_PEOPLE = flags.DEFINE_list("people", None, "Numbers of procedural people to train on, instead of --captures.")
_UNSEEN = flags.DEFINE_list("unseen", None, "Subjects to leave out; with --people the number of procedural people who are, by default 8.")
_FOLDER = flags.DEFINE_string("folder", None, "Where models and procedural captures go.", required=True)
_OUT = flags.DEFINE_string("out", None, "JSON of the rows.", required=True)
_FRAMES = flags.DEFINE_list("frames", ["1", "16"], "Numbers of frames to enrol from; 0: all.")
_TUNE = flags.DEFINE_list("tune", ["all"], "What learns, as of ava ava256 enrol; several at once with + between.")
_CAMERAS = flags.DEFINE_list("enrol_cameras", None, "Cameras to enrol from; by default four of the capture's, evenly spaced in its list.")
_ENROLLED = flags.DEFINE_integer("enrolled", None, "Of the people left out of a model, enrol the first so many; by default all.")
_TEST = flags.DEFINE_integer("test_frames", 2, "Last frames of the list that nothing but the scores sees.", lower_bound=1)
_HELD_OUT = flags.DEFINE_integer("held_out", 2, "Frames before these that say when enrolment ends.", lower_bound=1)
_STEPS = flags.DEFINE_integer("enrol_steps", 200, "Steps of an enrolment at most.", lower_bound=1)
_RATE = flags.DEFINE_float("enrol_rate", 0.0, "Its learning rate; 0: a third of the model's.")
_DRIVEN = "EXP_jaw_open"  # a segment in which people of one data set do the same
_SYNTH = {"frames": 20, "cameras": 10, "height": 128, "texture_size": 256}  # of procedural people


class Bench:
    """Rows measured so far, and where models are."""

    def __init__(self, folder: pathlib.Path, out: pathlib.Path):
        self.folder, self.out = folder, out
        self.rows: list[dict[str, Any]] = json.loads(out.read_text()) if out.is_file() else []

    def has(self, **key: Any) -> bool:
        """Whether a row of this key is there."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Prints and writes a row."""
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        with files.writing(self.out) as file:
            file.write((json.dumps(self.rows, indent=1) + "\n").encode())

    def unseen(
        self, config: ml_collections.ConfigDict, root: pathlib.Path, name: str, people: Sequence[str], unseen: Sequence[str]
    ) -> None:
        """Trains a model of some people, or takes the one that is there, and measures others with it."""
        run = self.folder / name
        with Checkpoints(run) as saved:
            there = config.train.steps in saved.steps()
        if not there:
            config = ml_collections.ConfigDict(config.to_dict())
            with config.unlocked():
                config.data.root, config.data.people = str(root), tuple(people)
                config.data.held_out.segments, config.data.held_out.last_frames = (), _TEST.value
            if not train_run(config, run):
                raise KeyboardInterrupt
        for i, person in enumerate(unseen):
            self._person(run, root, person, len(people), enrol=_ENROLLED.value is None or i < _ENROLLED.value)

    def _person(self, run: pathlib.Path, root: pathlib.Path, person: str, people: int, *, enrol: bool) -> None:
        base = restore_model(run, overrides={"data.root": str(root), "data.ids": ""})
        captures = base.task.captures
        capture = captures.find("--unseen", person)
        known = [name for name in capture.cameras if name in base.assets.names["cameras"]]
        spread = np.linspace(0, len(known) - 1, 4).round().astype(int)
        cameras = tuple(_CAMERAS.value or (known[i] for i in spread))
        count = len(capture.frames)
        test = tuple(range(count - _TEST.value, count))
        scored = {
            "data.root": str(root), "data.ids": "", "data.people": (capture.name,), "eval.unseen_camera_frames": test,
            "data.held_out.cameras": tuple(name for name in known if name not in cameras),
        }  # fmt: skip
        key = {"person": capture.subject, "people": people, "frames": 0, "tune": "zero-shot"}
        if not self.has(**key):
            self.add(key | _scores(restore_model(run, overrides=scored)))
        for frames in map(int, _FRAMES.value if enrol else ()):
            for tune in _TUNE.value:
                key = {"person": capture.subject, "people": people, "frames": frames, "tune": tune}
                if not self.has(**key):
                    self.add(key | self._enrol(run, base, capture, cameras, key, scored, capture.frames[list(test)]))

    def _enrol(
        self, run, base: RestoredRun, capture, cameras, key: dict[str, Any], scored: dict[str, Any], test: np.ndarray
    ) -> dict[str, Any]:
        chosen = {"frames": key["frames"], "cameras": cameras, "held_out": (str(_HELD_OUT.value),), "without": test}
        pictures = enrolment.choose(base.task.captures, capture, base.config, **chosen)
        recipe = enrolment.Recipe(tuple(key["tune"].split("+")), steps=_STEPS.value, learning_rate=_RATE.value)
        config = enrolment.config_of(base.config, run.absolute(), base.step, base.task.captures, pictures, recipe)
        workdir = run / "enrolled" / f"{capture.subject}_{key['frames']}_{key['tune']}"
        start = time.perf_counter()
        if not train_run(config, workdir):
            raise KeyboardInterrupt
        seconds = time.perf_counter() - start
        found = restore_model(workdir, "best", overrides=scored)
        others = [name for name in base.assets.names["identities"] if name != capture.name]
        kept = restore_model(workdir, "best", overrides=scored | {"data.people": tuple(others), "eval.max_samples": 24})
        before = restore_model(run, overrides=scored | {"data.people": tuple(others), "eval.max_samples": 24})
        lost = _scores(kept)["face_psnr"] - _scores(before)["face_psnr"]
        moved = driven(found, capture.name, others[:3])
        return _scores(found) | {"step": found.step, "seconds": round(seconds, 1), "others_gain": round(lost, 2)} | moved


def _scores(restored: RestoredRun) -> dict[str, float]:
    """Means over the images of the split of cameras held out."""
    compile_model = Inference(restored.model).compile
    threads = restored.config.data.read_threads
    report = evaluation.evaluate(restored.task, restored.assets, compile_model, ["unseen_cameras"], threads=threads)["unseen_cameras"]
    mean = {name: float(np.nanmean([row[name] for row in report.rows])) for name in ("face_psnr", "baseline_face_psnr")}
    return {"images": len(report.rows), "face_psnr": round(mean["face_psnr"], 2), "floor": round(mean["baseline_face_psnr"], 2)}


def driven(restored: RestoredRun, person: str, drivers: Sequence[str]) -> dict[str, float]:
    """How the person's mesh moves with others' expressions, where frame lists are alike: in the frame of `_DRIVEN` that moves it most.

    Returns:
      The decoded movement against the person's own tracked one, over all vertices: correlation and slope, means over the drivers.
    """

    def move(model, face, driver):
        still = driver | {"texture": driver["neutral_texture"], "vertices": driver["neutral_vertices"]}
        code = driving.encode_identity(model, face)
        decoded = (model.decode(code, driving.encode_expression(model, x), face["camera_position"]).vertices for x in (driver, still))
        return next(decoded) - next(decoded)

    def frames(name):
        captures = restored.task.captures
        capture = captures.find("--unseen", name)
        camera = capture.cameras[:1]
        places = {frame: i for i, frame in enumerate(capture.frames.tolist())}
        samples = selection.read(captures, restored.config, restored.assets, capture, camera, np.flatnonzero(capture.segments == _DRIVEN))
        return {places[int(sample["frame"])]: {key: np.asarray(value)[None] for key, value in sample.items()} for sample in samples}

    own = frames(person)
    place = max(own, key=lambda i: np.abs(own[i]["vertices"] - own[i]["neutral_vertices"]).mean())
    truth = (own[place]["vertices"] - own[place]["neutral_vertices"]).ravel()
    compiled = Inference(restored.model).compile(move)
    moved = [np.asarray(compiled(own[place], faces[place])).ravel() for faces in map(frames, drivers) if place in faces]
    correlation = float(np.mean([np.corrcoef(x, truth)[0, 1] for x in moved]))
    slope = float(np.mean([x @ truth / (truth @ truth) for x in moved]))
    return {"driven_correlation": round(correlation, 3), "driven_slope": round(slope, 3)}


def main() -> None:
    """Measures, as the flags say."""
    folder, config = pathlib.Path(_FOLDER.value), _CONFIG.value
    bench = Bench(folder, pathlib.Path(_OUT.value))
    if _PEOPLE.value:
        counts, unseen = [int(count) for count in _PEOPLE.value], int((_UNSEEN.value or ["8"])[0])
        root = folder / "captures"
        count = max(counts) + unseen
        if not root.exists():
            ava256_layout.write(root, ava256_layout.Request(identities=count, **_SYNTH), jobs=os.cpu_count() or 1)
        names = sorted(path.parent.name for path in root.glob("*/decoder"))
        if len(names) < count:
            raise ValueError(f"{root} holds {len(names)} people, and {count} are needed: take another --folder.")
        for count in counts:
            bench.unseen(config, root, f"of_{count}", names[:count], names[-unseen:])
        return
    if not _CAPTURES.value:
        raise ValueError("--captures or --people is missing.")
    root = pathlib.Path(_CAPTURES.value)
    config.data.root = str(root)
    captures = source.load_captures(config)
    for person in _UNSEEN.value or [capture.subject for capture in captures]:
        left = captures.find("--unseen", person)
        others = [capture.name for capture in captures if capture is not left]
        bench.unseen(config, root, f"without_{left.subject}", others, [left.name])


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
