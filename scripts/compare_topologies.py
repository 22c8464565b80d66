r"""Runs of one recipe on the same procedural heads in several topologies, side by side.

  python scripts/compare_topologies.py own=RUN other=RUN registered=RUN [--json=FILE] [--picture=FILE] [--frames=COUNT]

The captures of all must be of one request but for `--topology` (ava ava256 synthesize), so that their pictures are the same. Figures are
those of `measure_quickstart.py` on unseen frames; the picture shows held-out frames as photographed and as each run renders them, and
rendered images only.
"""

import argparse
import json
import pathlib

import numpy as np
from measure_quickstart import Measurement, from_front, opening, unseen

from ava_jax.tasks.ava256.data import source
from ava_jax.viz import sheet

_LARGEST = 190_000  # bytes of the picture


def samples_of(m: Measurement) -> dict[tuple[int, int, int], dict]:
    """Held-out samples by person, frame and camera."""
    data = source.source(m.captures, m.config.copy_and_resolve_references(), "unseen_frames", m.assets)
    found = (data[i] for i in range(len(data)))
    return {(int(s["identity"]), int(s["frame"]), int(s["camera_id"])): s for s in found if s is not None}


def chosen(m: Measurement, samples: dict, count: int) -> list[tuple[int, int, int]]:
    """One sample per person, the frame whose mouth is open widest, then the next, from cameras near the front."""
    keys = [key for key, s in samples.items() if from_front(s) > 0.8]
    wide = {key: float(opening(m.points(samples[key]["vertices"]))) for key in keys}
    picked: list[tuple[int, int, int]] = []
    for person in sorted({key[0] for key in keys}):
        picked.append(max((key for key in keys if key[0] == person), key=wide.get))
    return picked[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="NAME=RUN")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--picture", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=4)
    options = parser.parse_args()
    table, drawn, keys = {}, {}, None
    for pair in options.runs:
        name, _, run = pair.partition("=")
        m = Measurement(pathlib.Path(run), "", 16)
        found = {key: round(float(value), 3) for key, value in unseen(m, None).items()}
        table[name] = found
        print(name, json.dumps(found), flush=True)
        if options.picture:
            samples = samples_of(m)
            keys = keys or chosen(m, samples, options.frames)
            drawn[name] = render(m, [samples[key] for key in keys])
            truth = [samples[key]["image"] for key in keys]
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")
    if options.picture and keys:
        strips = []
        for i, (person, frame, camera) in enumerate(keys):
            panels = [("photograph", truth[i]), *((name, pictures[i]) for name, pictures in drawn.items())]
            strips.append(sheet.Strip(f"person {person}, frame {frame}, camera {camera}", tuple(panels)))
        sheet.compose(strips, columns=2, height=240).save(options.picture, quality=80, optimize=True)
        if options.picture.stat().st_size > _LARGEST:
            raise SystemExit(f"{options.picture}: {options.picture.stat().st_size} bytes, over {_LARGEST}: fewer --frames.")


def render(m: Measurement, samples: list[dict]) -> list[np.ndarray]:
    """Pictures u8 [H, W, 3] of samples as reconstructed."""
    filled = samples + [samples[-1]] * (16 - len(samples))
    image, _, _ = m.own({name: np.stack([s[name] for s in filled]) for name in filled[0]})
    return list(np.clip(np.asarray(image), 0, 255).astype(np.uint8)[: len(samples)])


if __name__ == "__main__":
    main()
