r"""What the avatar of the quickstart's procedural heads shows: scores, mouths, eyes, driving, gaps and speckle.

  python scripts/measure_quickstart.py RUN [--captures=DIR] [--json=FILE] [--picture=FILE] [--constants=FILE]

Procedural heads are known in every frame, so that what cannot be measured on photographs can be here. Meshes of another topology
(`ava ava256 synthesize --topology=...`) are read at the points of the procedural head's own vertices. One line per figure:

  face_psnr, gain          unseen frames, dB; gain over the best constant answer, as `ava eval` gives them
  mouth, eyes              squared error in a box around mouths that are open and around eyes that close, unseen frames, cameras within 60
                           degrees of the front
  vertices_face, _rest     mean error of the decoded mesh at the procedural head's vertices within 90 mm of the tip of the nose, and at the
                           others, unseen frames, mm
  mesh                     driving: correlation and slope of the opening of the driven mouth, in the decoded mesh, against the driver's, for
                           every pair of people over all of the driver's frames, and `held` over the held-out ones alone
  dark                     the same of the dark area in the mouth's box of the picture
  gaps                     part of the head's pixels, two from its border inward, with alpha under 0.8, unseen frames, %
  speckle                  part of the face's pixels that differ from the median of their 3 x 3 by over 20 of 255, at twice training's
                           resolution, %; beside it the photographs'
"""

import argparse
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from ava_jax.captures import chart, transfer
from ava_jax.core import zbuffer
from ava_jax.core.types import Cameras
from ava_jax.run.inference import Inference
from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, layouts
from ava_jax.tasks.ava256.apps import driving, selection
from ava_jax.tasks.ava256.data import source
from ava_jax.tasks.ava256.evaluation import baseline, scores
from ava_jax.tasks.ava256.model.codec import cameras_of
from ava_jax.train import checkpoint
from ava_jax.viz import sheet

OPEN = 5.0  # mm that lips are further apart than in the neutral face: the mouth is open
CLOSING = 0.3  # of a blink
FRONT = 0.5  # cosine of the angle to the front
DARK = 0.55  # of the median of the neutral face's box
ROWS = geometry.CELLS + 1


def grid(row: int, columns: slice) -> np.ndarray:
    """Vertices of a row of the topology's grid."""
    return (row * ROWS + np.arange(ROWS))[columns]


def lip_rows() -> tuple[int, int]:
    """Rows of the last vertices that stay above and of the first that follow the jaw, at the middle of the mouth."""
    follows = geometry.jaw_weight(geometry.vertex_surface()).reshape(ROWS, ROWS)[:, geometry.CELLS // 2]
    y = geometry.vertex_surface().y.reshape(ROWS, ROWS)[:, geometry.CELLS // 2]
    near = np.flatnonzero(np.abs(y - geometry.MOUTH) < 12)
    return int(near[follows[near] < 0.2].max()), int(near[follows[near] > 0.9].min())


def opening(vertices: np.ndarray) -> np.ndarray:
    """Distance of the lips at the middle of the mouth [...], mm, in meshes [..., V, 3]."""
    upper, lower = lip_rows()
    middle = slice(geometry.CELLS // 2 - 2, geometry.CELLS // 2 + 3)
    return np.linalg.norm(vertices[..., grid(upper, middle), :] - vertices[..., grid(lower, middle), :], axis=-1).mean(-1)


@functools.cache
def regions() -> dict[str, np.ndarray]:
    """Vertices about the mouth and each eye."""
    s = geometry.vertex_surface()
    front = s.z > 20
    level = front & (np.abs(s.y - geometry.EYE[1]) < 9)
    eyes = {side: level & (np.abs(sign * s.x - geometry.EYE[0]) < 16) for side, sign in (("left", -1), ("right", 1))}
    mouth = front & (np.abs(s.x) < geometry.MOUTH_HALF_WIDTH + 3) & (np.abs(s.y - geometry.MOUTH) < 10)
    return {name: np.flatnonzero(inside) for name, inside in ({"mouth": mouth} | eyes).items()}


def box(vertices: np.ndarray, camera: Cameras, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a picture that hold the projections of vertices [P, 3]."""
    at = zbuffer.project(vertices, camera)[:, :2]
    low, high = np.floor(at.min(0)).astype(int), np.ceil(at.max(0)).astype(int) + 1
    low, high = np.clip(low, 0, shape[::-1]), np.clip(high, 0, shape[::-1])
    return slice(low[1], high[1]), slice(low[0], high[0])


def camera_of(sample: dict[str, Any]) -> Cameras:
    return Cameras(*(np.asarray(x, np.float64) for x in cameras_of(sample)))


def from_front(sample: dict[str, Any]) -> float:
    return float(sample["camera_position"][2] / np.linalg.norm(sample["camera_position"]))


class Measurement:
    """A run, its captures and compiled functions."""

    def __init__(self, run: pathlib.Path, captures: str, size: int):
        restored = checkpoint.restore_model(run, None)
        self.config, self.assets, self.task, self.size = restored.config, restored.assets, restored.task, size
        with self.config.unlocked():
            self.config.data.root = captures or self.config.data.root
        self.captures = source.load_captures(self.config)
        root = pathlib.Path(self.config.data.root)
        self.request = Request(**json.loads((root / ava256_layout.REQUEST).read_text()))
        compiled = Inference(restored.model).compile
        self.tied = _tied(self.request)
        self.face = np.linalg.norm(layouts.generic_head() - chart.nose_tip(layouts.generic_head()), axis=1) < chart.FACE_RADIUS
        self.encode_identity, self.encode = compiled(driving.encode_identity), compiled(driving.encode_expression)
        self.own, self.shown = compiled(_own), compiled(_driven)
        names = [capture.name for capture in self.captures]
        self.blink = {}
        for person, name in enumerate(sorted(names)):
            numbers = ava256_layout.frame_numbers(self.request, person)
            for number, (_, expression) in zip(numbers, ava256_layout.script(self.request, person), strict=True):
                self.blink[person, number] = expression.blink

    def points(self, vertices: np.ndarray) -> np.ndarray:
        """The procedural head's points [..., P, 3] on meshes [..., V, 3] of the captures' topology."""
        if self.tied is None:
            return vertices
        return np.einsum("pc,...pcl->...pl", self.tied.weights, np.asarray(vertices)[..., self.tied.corners, :])

    def batches(self, samples: list, count: int):
        """Batches of `count` samples, the last one filled up, with how many are new."""
        for start in range(0, len(samples), count):
            part = samples[start : start + count]
            filled = part + [part[-1]] * (count - len(part))
            yield part, {name: np.stack([s[name] for s in filled]) for name in filled[0]}


def _tied(request: Request) -> transfer.Binding | None:
    """The procedural head's points on the mesh of another topology; None for its own."""
    if not request.topology:
        return None
    layout = layouts.load(request.topology, request.template)
    return transfer.bind(layouts.generic_head(), layout.vertices(layouts.generic_head()), layout.topology.faces)


def _own(model, batch):
    """Pictures as reconstructed, their alpha and meshes."""
    identity = driving.encode_identity(model, batch)
    decoded = model.decode(identity, driving.encode_expression(model, batch), batch["camera_position"])
    rgba = model.render(decoded.primitives, cameras_of(batch), *batch["image"].shape[1:3])
    return model.calibrate_and_composite(rgba, batch["camera"], batch["identity"]), rgba[..., 3], decoded.vertices


def _driven(model, code, identity, expressions, batch):
    """One person [1] with expressions [B] of others, before magenta."""
    code = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(expressions), *x.shape[1:])), code)
    decoded = model.decode(code, expressions, batch["camera_position"])
    rgba = model.render(decoded.primitives, cameras_of(batch), *batch["image"].shape[1:3])
    image = model.calibration(rgba[..., :3], batch["camera"], jnp.broadcast_to(identity, (len(expressions),)))
    return image + (1 - rgba[..., 3:]) * jnp.array([255.0, 0, 255.0]), rgba[..., 3], decoded.vertices


def unseen(m: Measurement, constants: pathlib.Path | None) -> dict[str, float]:
    """Scores of unseen frames."""
    config = m.config.copy_and_resolve_references()
    data = source.source(m.captures, config, "unseen_frames", m.assets)
    samples = [s for i in range(len(data)) if (s := data[i]) is not None]
    known = np.load(constants) if constants and constants.exists() else None
    heads = None if known is not None else baseline.load(m.captures, config, m.assets)
    psnr, constant, squares, gaps, mouth, eyes, off = [], [], [], [], [], [], []
    for part, batch in m.batches(samples, 16):
        image, alpha, vertices = map(np.asarray, m.own(batch))
        image = np.clip(image, 0, 255)
        off += list(np.linalg.norm(m.points(vertices) - m.points(batch["vertices"]), axis=-1)[: len(part)])
        found = scores.scores(jnp.asarray(image), batch)
        psnr += np.asarray(found["face_psnr"])[: len(part)].tolist()
        if heads:
            constant += heads.scores(batch)["face_psnr"][: len(part)].tolist()
        for i, sample in enumerate(part):
            inside = ndimage.binary_erosion(np.asarray(scores.face_mask(sample["segmentation"])), iterations=2)
            gaps.append((alpha[i][inside] < 0.8).mean())
            if from_front(sample) < FRONT:
                continue
            error = np.square(image[i] - sample["image"].astype(np.float32)).mean(-1)
            squares.append(error)
            camera = camera_of(sample)
            known_points, neutral = m.points(sample["vertices"]), m.points(sample["neutral_vertices"])
            if opening(known_points) - opening(neutral) > OPEN:
                mouth.append(error[box(known_points[regions()["mouth"]], camera, error.shape)].mean())
            if m.blink[int(sample["identity"]), int(sample["frame"])] > CLOSING:
                eyes += [error[box(known_points[regions()[side]], camera, error.shape)].mean() for side in ("left", "right")]
    if constants and heads:
        constants.parent.mkdir(parents=True, exist_ok=True)
        np.save(constants, np.array(constant))
    constant = known if known is not None else np.array(constant)
    result = {
        "face_psnr": np.mean(psnr),
        "gain": np.mean(psnr) - np.mean(constant),
        "mouth": np.mean(mouth),
        "eyes": np.mean(eyes),
        "gaps": 100 * np.mean(gaps),
        "vertices_face": np.mean(np.array(off)[:, m.face]),
        "vertices_rest": np.mean(np.array(off)[:, ~m.face]),
    }
    return result


def drive(m: Measurement, picture: pathlib.Path | None) -> dict[str, float]:
    """Every pair of people over all frames of the driver, seen by the frontal camera at twice training's resolution."""
    config = m.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.downsample = max(1, config.data.downsample // 2)
    people = []
    for capture in sorted(m.captures, key=lambda c: c.name):
        camera = selection.camera(m.captures, m.assets, capture)
        samples = selection.read(m.captures, config, m.assets, capture, [camera], np.argsort(capture.frames, kind="stable"))
        batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
        person = {name: value[:1] for name, value in batch.items()}
        held = batch["segment"] == m.assets.names["segments"].index("EXP_free_face")
        codes = {"code": m.encode_identity(person), "expressions": m.encode(batch)}
        people.append(codes | {"batch": batch, "identity": person["identity"], "held": held})
    table: dict[str, list] = {}
    shown = []
    noise, noise_of_truth = [], []
    for driver in people:
        truth = opening(m.points(driver["batch"]["vertices"]))
        truth_dark = _dark(driver["batch"]["image"], driver["batch"], m.points(driver["batch"]["neutral_vertices"][:1]))
        row = [driver["batch"]["image"]]
        for person in people:
            image, alpha, vertices = map(np.asarray, m.shown(person["code"], person["identity"], driver["expressions"], driver["batch"]))
            row.append(np.clip(image, 0, 255).astype(np.uint8))
            if person is driver:
                noise.append(_speckle(image, alpha > 0.95))
                noise_of_truth.append(_speckle(driver["batch"]["image"].astype(np.float32), alpha > 0.95))
            for name, of, at in (
                ("mesh", opening(m.points(vertices)), truth),
                ("dark", _dark(np.clip(image, 0, 255), driver["batch"], m.points(person["batch"]["neutral_vertices"][:1])), truth_dark),
            ):
                kind = "own_" if person is driver else ""
                table.setdefault(f"{kind}{name}", []).append(_line(at, of))
                table.setdefault(f"{kind}{name}_held", []).append(_line(at[driver["held"]], of[driver["held"]]))
        shown.append(row)
    result = {}
    for name, lines in table.items():
        r, slope = np.array(lines).T
        result |= {f"{name}_r_min": r.min(), f"{name}_r_mean": r.mean(), f"{name}_slope_min": slope.min(), f"{name}_slope_max": slope.max()}
    result |= {"speckle": 100 * np.mean(noise), "speckle_truth": 100 * np.mean(noise_of_truth)}
    if picture:
        _draw(m, shown, people, picture)
    return result


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Correlation, and slope of y against x."""
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / max(np.sqrt((x * x).sum() * (y * y).sum()), 1e-9)), float((x * y).sum() / max((x * x).sum(), 1e-9))


def _dark(images: np.ndarray, batch: dict[str, np.ndarray], neutral: np.ndarray) -> np.ndarray:
    """Dark part [B] of a box that an open mouth fills, in pictures [B, H, W, 3], against the median of the first, the neutral one."""
    region = neutral[0][regions()["mouth"]]
    region = np.concatenate([region, region[region[:, 1] < np.median(region[:, 1])] - np.array([0, 22, 0])])
    found, level = [], None
    for i, image in enumerate(images):
        camera = Cameras(*(np.asarray(x[i], np.float64) for x in cameras_of(batch)))
        inside = image[box(region, camera, image.shape[:2])].astype(np.float32).mean(-1)
        level = np.median(inside) if level is None else level
        found.append((inside < DARK * level).mean())
    return np.array(found)


def _speckle(images: np.ndarray, inside: np.ndarray) -> float:
    grey = images.mean(-1)
    return float((np.abs(grey - ndimage.median_filter(grey, (1, 3, 3)))[inside] > 20).mean())


def _draw(m: Measurement, shown: list, people: list, path: pathlib.Path) -> None:
    """For each driver a row of frames, the truth and everybody driven: neutral, jaw, blink and two held-out ones."""
    strips = []
    for row, driver in zip(shown, people):
        held = np.flatnonzero(driver["held"])
        best = held[np.argsort(opening(m.points(driver["batch"]["vertices"]))[held])]
        for i in (2, 11, best[-1]):
            pictures = tuple(("truth" if j == 0 else f"{j - 1}", images[i]) for j, images in enumerate(row))
            strips.append(sheet.Strip(f"driver {int(driver['identity'][0])}, frame {i}", pictures))
    sheet.save(sheet.compose(strips, columns=3), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--captures", default="", help="other than those the run was trained on")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--picture", type=pathlib.Path, help="people driven, as a JPEG")
    parser.add_argument("--constants", type=pathlib.Path, help=".npy that keeps the constant answer's scores from one run to the next")
    options = parser.parse_args()
    m = Measurement(options.run, options.captures, 16)
    result = unseen(m, options.constants) | drive(m, options.picture)
    result = {name: round(float(value), 4) for name, value in result.items()}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
