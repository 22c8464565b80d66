"""Procedural watertight shapes of several classes, put together from closed parts by manifold3d, and examples of them."""

import pathlib
from typing import Any

import numpy as np

from ava_jax.data.workers import cores
from ava_jax.tasks.ldif.data import examples, prepare

CLASSES = ("chair", "table", "lamp", "vase", "plane", "car")
SPLITS = ("train", "val", "test")


def shape(kind: str, rng: np.random.Generator) -> Any:
    """A mesh of trimesh, watertight, y up, about one long. `kind` is one of CLASSES."""
    import trimesh

    parts = _PARTS[kind](rng)
    return parts[0] if len(parts) == 1 else trimesh.boolean.union(parts, engine="manifold")


def write(folder: pathlib.Path, counts: dict[str, int], *, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> None:
    """Writes meshes as SPLIT/CLASS/NAME.ply; those that are there stay. No two shapes are alike, in whatever split.

    Args:
      folder: is made where it is not there.
      counts: split -> shapes of each class.
      classes: of CLASSES.
      seed: of the shapes.
    """
    for kind in classes:
        number = 0
        for split, count in counts.items():
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                path = folder / split / kind / f"{kind}_{number:05d}.ply"
                if not path.exists():
                    rng = np.random.default_rng([seed, CLASSES.index(kind), number])
                    path.write_bytes(shape(kind, rng).export(file_type="ply"))
                number += 1


def write_default(folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
    """Meshes and examples for a first run or, small, for tests; the config's values that read them, by dotted name."""
    counts = {"train": 2, "val": 1, "test": 1} if small else {"train": 40, "val": 2, "test": 5}
    write(folder / "meshes", counts, classes=CLASSES[1:3] if small else CLASSES)
    works = prepare.find(folder / "meshes", folder / "examples")
    (folder / "examples").mkdir(exist_ok=True)
    samples = 500 if small else examples.SAMPLES
    prepare.prepare(works, folder / "examples", jobs=1 if small else cores(), refuse_open=False, seed=0, samples=samples)
    return {"data.root": str(folder / "examples")}


def _box(size: Any, at: Any) -> Any:
    import trimesh

    return trimesh.creation.box(size, trimesh.transformations.translation_matrix(at))


def _rod(radius: float, start: Any, end: Any) -> Any:
    import trimesh

    return trimesh.creation.cylinder(radius, segment=[start, end], sections=24)


def _turned(outline: Any) -> Any:
    """A solid of revolution about y. `outline`: [P, 2], radius and height, from the axis below to the axis above."""
    import trimesh

    solid = trimesh.creation.revolve(np.asarray(outline, float), sections=32)
    solid.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
    if solid.volume < 0:
        solid.invert()
    return solid


def _legs(rng: np.random.Generator, width: float, depth: float, height: float) -> list[Any]:
    radius = rng.uniform(0.02, 0.05)
    x, z, spread = width / 2 - radius, depth / 2 - radius, rng.uniform(1.0, 1.2)
    return [_rod(radius, (i * x * spread, 0, k * z * spread), (i * x, height, k * z)) for i in (-1, 1) for k in (-1, 1)]


def _table(rng: np.random.Generator) -> list[Any]:
    width, depth, height, thick = rng.uniform((0.6, 0.4, 0.35, 0.04), (1.2, 0.8, 0.7, 0.1))
    if rng.random() < 0.3:
        foot = _turned([(0, 0), (0.3 * width, 0), (0.28 * width, 0.04), (0.05, 0.08), (0.05, height), (0, height)])
        top = _rod(width / 2, (0, height - 0.01, 0), (0, height + thick, 0))
        return [foot, top]
    return [_box((width, thick, depth), (0, height, 0)), *_legs(rng, width, depth, height)]


def _chair(rng: np.random.Generator) -> list[Any]:
    width, depth, height, back = rng.uniform((0.4, 0.4, 0.35, 0.35), (0.6, 0.6, 0.5, 0.7))
    parts = [_box((width, 0.06, depth), (0, height, 0)), *_legs(rng, width, depth, height)]
    parts.append(_box((width, back, 0.05), (0, height + back / 2, -depth / 2 + 0.025)))
    if rng.random() < 0.5:
        for side in (-1, 1):
            parts += [_box((0.05, 0.22, 0.05), (side * (width / 2 - 0.025), height + 0.1, depth / 2 - 0.05))]
            parts += [_box((0.06, 0.05, depth), (side * (width / 2 - 0.025), height + 0.22, 0))]
    return parts


def _lamp(rng: np.random.Generator) -> list[Any]:
    height, foot, stem, low, high = rng.uniform((0.6, 0.12, 0.02, 0.2, 0.08), (1.1, 0.3, 0.05, 0.4, 0.2))
    shade = rng.uniform(0.2, 0.35)
    base = _turned([(0, 0), (foot, 0), (foot, 0.04), (stem, 0.08), (stem, height), (0, height)])
    return [base, _turned([(0, height - 0.02), (low, height - 0.02), (high, height + shade), (0, height + shade)])]


def _vase(rng: np.random.Generator) -> list[Any]:
    heights = np.linspace(0, rng.uniform(0.6, 1.1), 12)
    phase, turns = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
    outer = rng.uniform(0.2, 0.35) * (1 + rng.uniform(0.2, 0.5) * np.sin(phase + turns * np.pi * heights / heights[-1]))
    inner, floor = outer - 0.04, heights + np.where(np.arange(12) == 0, 0.05, 0)
    way = [(0, 0), *zip(outer, heights), *zip(inner[::-1], floor[::-1]), (0, floor[0])]
    return [_turned(way)]


def _plane(rng: np.random.Generator) -> list[Any]:
    import trimesh

    length, radius, span, chord = rng.uniform((0.8, 0.05, 0.8, 0.14), (1.2, 0.1, 1.3, 0.26))
    body = trimesh.creation.capsule(length - 2 * radius, radius, count=(24, 24))
    body.apply_translation((0, 0, -body.bounds.mean(0)[2]))
    sweep, at = rng.uniform(0.0, 0.5), rng.uniform(-0.05, 0.15)
    parts = [body]
    for side in (-1, 1):
        wing = _box((span / 2, 0.03, chord), (side * span / 4, 0, at))
        wing.vertices[:, 2] -= sweep * np.abs(wing.vertices[:, 0])
        tail = _box((span / 6, 0.025, chord / 2), (side * span / 12, 0.02, -length / 2 + 0.1))
        parts += [wing, tail]
    parts.append(_box((0.025, rng.uniform(0.12, 0.22), chord / 2), (0, 0.1, -length / 2 + 0.1)))
    return parts


def _car(rng: np.random.Generator) -> list[Any]:
    import trimesh

    length, width, height = rng.uniform((0.9, 0.38, 0.16), (1.2, 0.5, 0.24))
    wheel = rng.uniform(0.08, 0.12)
    body = _box((width, height, length), (0, wheel + height / 2, 0))
    roof = _box((width * 0.9, height, length * rng.uniform(0.4, 0.6)), (0, wheel + 1.4 * height, rng.uniform(-0.15, 0.05)))
    top = roof.vertices[:, 1] > wheel + 1.4 * height
    roof.vertices[top, 2] *= rng.uniform(0.6, 0.9)
    roof = trimesh.Trimesh(roof.vertices, roof.faces)
    wheels = [
        _rod(wheel, (x * (width / 2 - 0.06), wheel, z * 0.3 * length), (x * (width / 2 + 0.02), wheel, z * 0.3 * length))
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return [body, roof, *wheels]


_PARTS = {"chair": _chair, "table": _table, "lamp": _lamp, "vase": _vase, "plane": _plane, "car": _car}
