"""What a conversion will do, worked out before anything is written: which frames, how long a unit is, where the head is."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping

import numpy as np

from ava_jax.captures import writing
from ava_jax.captures.ava256 import NEUTRAL, Capture
from ava_jax.captures.convert import flame, head, meshes, neck, straighten
from ava_jax.captures.convert.head import Skull
from ava_jax.captures.convert.meshes import Meshes
from ava_jax.captures.convert.neck import Neck
from ava_jax.captures.convert.request import Request
from ava_jax.captures.convert.straighten import Target
from ava_jax.captures.rigs import checks, pictures, reading
from ava_jax.captures.rigs.types import Rig, RigCamera
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Cameras
from ava_jax.data import text_files

FREE = "EXP_free_face"  # what training holds out by default
REST = "EXP_all"
_HELD_OUT = 10  # without a list of segments, one frame of so many, the last ones, are held out
_LOOKED_AT = 100  # meshes that tell what stays still
_HEAD_MM = (120.0, 700.0)  # height of a mesh of a head, with or without shoulders
_DISTANCE_MM = (200.0, 5000.0)  # from a head to the cameras
_UNITS = {"metres": 1000.0, "decimetres": 100.0, "centimetres": 10.0, "millimetres": 1.0, "inches": 25.4}


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the work needs; it travels to the processes.

    Attributes:
      request: what was asked for.
      rig: the cameras as they were read.
      numbers: the capture's id of each camera, by the rig's name.
      targets: what each camera's pictures become, by the rig's name.
      meshes: of the frames.
      tracked: topology of the meshes; topology: of the capture, which has the neck's triangles too.
      neck: how it is grown; None: it is not.
      frames: to be converted, sorted.
      segments: of each frame.
      neutral: frame of the neutral face.
      mm: per unit of the rig.
      skull: where the head is told by; as the neutral mesh lies.
      pose: f64 [3, 4], head to world of the neutral mesh, mm.
      notes: what the user should know, a line each.
    """

    request: Request
    rig: Rig
    numbers: Mapping[str, str]
    targets: Mapping[str, Target]
    meshes: Meshes
    tracked: Topology
    topology: Topology
    neck: Neck | None
    frames: tuple[int, ...]
    segments: tuple[str, ...]
    neutral: int
    mm: float
    skull: Skull
    pose: np.ndarray
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all pictures."""
        return next(iter(self.targets.values())).size

    def surface(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame's mesh in the head's axes, f64 [V, 3], mm, and its pose, head to world, f64 [3, 4], mm.

        Raises:
          ValueError: the mesh cannot be read, or has another number of vertices.
        """
        world = self.meshes.read(frame) * self.mm
        count = len(self.skull.motion)
        if len(world) != count:
            raise ValueError(f"frame {frame}: its mesh must have {count} vertices as the first; got {len(world)}.")
        pose = head.pose_of(world, self.skull, self.pose)
        vertices = head.into_head(world, pose)
        return (vertices if self.neck is None else self.neck.extend(vertices)), pose

    def pinhole(self, camera: RigCamera) -> writing.Pinhole:
        """A camera as the capture has it."""
        k, rigid = self.targets[camera.name].k, camera.world_to_camera
        return writing.Pinhole(self.numbers[camera.name], k[(0, 1), (0, 1)], k[:2, 2], rigid[:3, :3], rigid[:3, 3] * self.mm)

    def seen_from(self, camera: RigCamera, pose: np.ndarray) -> Cameras:
        """A camera in the axes of a head, pixels of the capture's pictures; `pose`: of the head, f64 [3, 4]."""
        found = self.pinhole(camera)
        centre = -found.rotation.T @ found.translation
        return Cameras(found.rotation @ pose[:, :3], (centre - pose[:, 3]) @ pose[:, :3], found.focal, found.principal)

    def capture(self, decoder: pathlib.Path) -> Capture:
        """The capture as it will be read from a folder."""
        cameras = sorted((self.pinhole(camera) for camera in self.rig.cameras), key=lambda camera: camera.name)
        names, *arrays = zip(*cameras, strict=True)
        frames = np.array(self.frames, np.int32)
        stacked = [np.stack(values) for values in arrays]
        return Capture(self.request.name, decoder, names, *stacked, frames, np.array(self.segments, object), sensor=self.size)


def make(request: Request) -> Plan:
    """Reads a rig's small files and some of its meshes.

    Raises:
      ValueError: something is missing or cannot be right; one line that says what, and what to do.
    """
    rig = reading.read(request.rig.expanduser(), request.format, request.images)
    if wrong := checks.rotation_faults(rig.cameras):
        raise ValueError(f"{request.rig}: {wrong[0]}.")
    notes = list(rig.notes)
    rig = _with_masks(rig, request, notes)
    found, template = _meshes(rig, request)
    frames = _frames(rig, found, request, notes)
    names, neutral, frames = segments(request, frames, notes)
    count = len(found.read(neutral))
    topology, drawn = meshes.topology(request.topology, found, count)
    if isinstance(found, flame.FlameMeshes):
        flame.check_topology(found.model, topology, request.topology)
    used = np.unique(topology.faces)
    mm = _mm_per_unit(rig, request, found.read(neutral)[used], notes, isinstance(found, flame.FlameMeshes))
    chosen = [neutral, *(frame for frame in thinned(frames, _LOOKED_AT) if frame != neutral)]
    skull = _skull(request, [found.read(frame) * mm for frame in chosen], chosen, used, notes)
    pose = _head_axes(request, rig, mm, skull, template, count, notes)
    grown = None
    if request.neck:
        grown = neck.grow(topology, head.into_head(found.read(neutral) * mm, pose), request.neck)
        notes.append(f"neck: {grown.edges} edges of the border, {grown.added} vertices more, {grown.room}")
    size = straighten.common_size(rig.cameras, request.height)
    return Plan(
        request=request,
        rig=rig,
        numbers=_numbers(rig, notes),
        targets={camera.name: straighten.target(camera, size) for camera in rig.cameras},
        meshes=found,
        tracked=topology,
        topology=topology if grown is None else grown.topology,
        neck=grown,
        frames=tuple(frames),
        segments=tuple(names),
        neutral=neutral,
        mm=mm,
        skull=skull,
        pose=pose,
        notes=tuple(notes),
    )


def segments(request: Request, frames: list[int], notes: list[str]) -> tuple[list[str], int, list[int]]:
    """Segment of each frame, the neutral frame, and the frames that are left.

    A file lists them; frames that it lacks are left out. Without one, the first frame is the neutral face and the last tenth is held out.

    Args:
      request: what was asked for.
      frames: sorted.
      notes: is added to.

    Raises:
      ValueError: the file cannot be read, or the neutral frame is not among the frames.
    """
    if request.segments is not None:
        listed = _listed(request.segments.expanduser())
        kept = [frame for frame in frames if frame in listed]
        if not kept:
            raise ValueError(f"--segments={request.segments}: lists none of the {len(frames)} frames that have a mesh and an image.")
        if len(kept) < len(frames):
            notes.append(f"{len(frames) - len(kept)} frames are in no segment of {request.segments} and left out")
        frames, names = kept, [listed[frame] for frame in kept]
    else:
        held = max(1, len(frames) // _HELD_OUT) if len(frames) > 2 else 0
        names = [REST] * (len(frames) - held) + [FREE] * held
        if held:
            notes.append(f"no --segments: the last {held} of {len(frames)} frames are {FREE}, which training holds out")
    neutral = request.neutral
    if neutral is None:
        marked = [frame for frame, name in zip(frames, names, strict=True) if name == NEUTRAL]
        neutral = marked[0] if marked else frames[0]
        if not marked:
            notes.append(f"frame {neutral}, the first, is taken for the neutral face ({NEUTRAL}); --neutral=FRAME names another")
    if neutral not in frames:
        raise ValueError(f"--neutral={neutral}: that frame has no mesh with an image, or no segment; there are {_some(frames)}.")
    names = [REST if name == NEUTRAL and request.neutral is not None else name for name in names]
    names[frames.index(neutral)] = NEUTRAL
    return names, neutral, frames


def thinned(frames: list[int], most: int) -> list[int]:
    """At most so many of the frames, evenly spaced."""
    return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]


def _listed(path: pathlib.Path) -> dict[int, str]:
    """Segment by frame of a CSV with the columns seg_id, frame_id."""
    rows = list(csv.DictReader(io.StringIO(text_files.read(path), newline="")))
    try:
        return {int(row["frame_id"]): row["seg_id"].strip() for row in rows}
    except (KeyError, ValueError, TypeError, AttributeError) as e:
        raise ValueError(f"--segments={path}: must be a CSV with the columns seg_id,frame_id, frames as whole numbers.") from e


def _with_masks(rig: Rig, request: Request, notes: list[str]) -> Rig:
    """With those of --masks, if given: named as the images, below the folder that all images have in common."""
    if request.masks is None:
        return rig
    root = request.masks.expanduser()
    if not root.is_dir():
        raise ValueError(f"--masks={request.masks}: no such folder.")
    found = {}
    for (camera, frame), path in rig.images.items():
        for below in (pathlib.Path(path.name), *(pathlib.Path(*path.parts[-depth:]) for depth in (2, 3))):
            mask = pictures.existing(root, str(below.with_suffix(""))) or pictures.existing(root, f"{below}.png")
            # In one flat folder a name tells the camera as well only where all images lie in one folder themselves.
            if mask is not None and (len(below.parts) > 1 or camera in path.stem or len(rig.cameras) == 1):
                found[camera, frame] = mask
    if not found:
        raise ValueError(
            f"--masks={request.masks}: no picture there is named as an image; images are as {next(iter(rig.images.values()))}."
        )
    if len(found) < len(rig.images):
        notes.append(f"{len(rig.images) - len(found)} of {len(rig.images)} images have no mask in {request.masks}")
    return dataclasses.replace(rig, masks=found)


def _meshes(rig: Rig, request: Request) -> tuple[Meshes, np.ndarray | None]:
    """The meshes, and a template in head axes where FLAME gives one, [V, 3]."""
    if request.meshes is not None:
        return meshes.find(request.meshes.expanduser()), None
    if rig.flame and request.flame_model is not None:
        model = flame.load(request.flame_model.expanduser())
        return flame.FlameMeshes(model, rig.flame), model.template
    if rig.meshes:
        return meshes.MeshFiles(rig.meshes), None
    more = " The rig names FLAME parameters: --flame_model=FILE.pkl, your own copy, makes meshes of them." if rig.flame else ""
    raise ValueError(f"{request.rig}: the rig names no meshes: --meshes=FOLDER must give tracked meshes, one per frame.{more}")


def _frames(rig: Rig, found: Meshes, request: Request, notes: list[str]) -> list[int]:
    seen = {frame for _, frame in rig.images}
    both = sorted(seen & set(found.frames))
    if not both:
        raise ValueError(
            f"no frame has both an image and a mesh: images are of frames {_some(sorted(seen))}, meshes of {_some(list(found.frames))}."
        )
    for what, others in (("images but no mesh", seen - set(both)), ("a mesh but no image", set(found.frames) - set(both))):
        if others:
            notes.append(f"{len(others)} frames have {what} and are left out, as {min(others)}")
    return both[:: request.every]


def _some(frames: list[int]) -> str:
    return "none" if not frames else f"{frames[0]} to {frames[-1]} ({len(frames)})"


def _mm_per_unit(rig: Rig, request: Request, mesh: np.ndarray, notes: list[str], is_flame: bool) -> float:
    """The length of a unit; ValueError with the factor that would fit where none is given or the result is no head's."""
    centres = {c.name: -c.world_to_camera[:3, :3].T @ c.world_to_camera[:3, 3] for c in rig.cameras}
    mm, why = request.scale, "--scale"
    if request.distance is not None:
        first, second, apart = request.distance
        mm, why = checks.mm_of_distance(rig, first, second, apart), f"--distance of {first} and {second}"
    elif mm is None and (rig.mm_per_unit or is_flame):
        mm, why = rig.mm_per_unit or 1000.0, "FLAME's metres" if is_flame and not rig.mm_per_unit else "the format"
    side = float(np.ptp(mesh, axis=0).max())
    away = float(np.median([np.linalg.norm(centre - mesh.mean(0)) for centre in centres.values()]))
    fitting = [f"--scale={factor:g} ({unit}: {side * factor:.0f} mm)" for unit, factor in _UNITS.items() if _plausible(side, away, factor)]
    hint = f"{' or '.join(fitting[:2])} would fit" if fitting else "none of the usual units fits: are meshes and cameras in one space?"
    if mm is None:
        raise ValueError(f"the rig's unit is not known: its meshes are {side:.4g} units long, its cameras {away:.4g} away; {hint}.")
    if not _plausible(side, away, mm) and not request.force:
        raise ValueError(
            f"a unit of {mm:g} mm ({why}) makes the mesh {side * mm:.4g} mm long and the cameras {away * mm:.4g} mm away, which no head's "
            f"are ({_HEAD_MM[0]:.0f} to {_HEAD_MM[1]:.0f}, {_DISTANCE_MM[0]:.0f} to {_DISTANCE_MM[1]:.0f}); {hint}. --force goes on."
        )
    notes.append(f"a unit is {mm:g} mm ({why}): the mesh is {side * mm:.0f} mm long, cameras are {away * mm:.0f} mm away")
    return float(mm)


def _plausible(side: float, away: float, mm: float) -> bool:
    return _HEAD_MM[0] <= side * mm <= _HEAD_MM[1] and _DISTANCE_MM[0] <= away * mm <= _DISTANCE_MM[1]


def _skull(request: Request, found: list[np.ndarray], frames: list[int], used: np.ndarray, notes: list[str]) -> Skull:
    count = len(found[0])
    for frame, mesh in zip(frames, found, strict=True):
        if len(mesh) != count:
            raise ValueError(f"frame {frame}: its mesh must have {count} vertices as frame {frames[0]}'s; got {len(mesh)}.")
    stacked = np.stack(found)
    if request.skull is not None:
        skull, how = head.given_skull(stacked, meshes.indices(request.skull.expanduser(), count)), f"of {request.skull}"
    else:
        skull, how = head.find_skull(stacked, used), "that move least"
    motion = float(np.median(skull.motion[skull.index]))
    notes.append(f"head poses by the {len(skull.index)} vertices {how}: {motion:.2f} mm RMS over {len(found)} frames")
    return skull


def _head_axes(
    request: Request, rig: Rig, mm: float, skull: Skull, template: np.ndarray | None, count: int, notes: list[str]
) -> np.ndarray:
    if request.template is not None:
        template = meshes.read(request.template.expanduser())
        if len(template) != count:
            raise ValueError(f"--template={request.template}: must have {count} vertices as the meshes; got {len(template)}.")
    if template is not None:
        notes.append(f"head axes: as of {request.template or 'the FLAME model'}")
        return head.axes_from_template(skull, template)
    rotations = np.stack([camera.world_to_camera[:3, :3] for camera in rig.cameras])
    centres = np.stack([-camera.world_to_camera[:3, :3].T @ camera.world_to_camera[:3, 3] for camera in rig.cameras]) * mm
    notes.append("head axes: up as the cameras, forward to most of them; --template=OBJ, a mesh in head axes, says it better")
    return head.axes_from_cameras(skull, rotations, centres)


def _numbers(rig: Rig, notes: list[str]) -> dict[str, str]:
    """The capture's ids, numbers, of the rig's cameras."""
    names = [camera.name for camera in rig.cameras]
    plain = [str(int(name)) for name in names if name.isascii() and name.isdigit() and len(name) < 10]
    if len(set(plain)) == len(names):
        return dict(zip(names, plain, strict=True))
    found = {name: str(number) for number, name in enumerate(names, 1)}
    shown = ", ".join(f"{name} = {number}" for name, number in list(found.items())[:4])
    notes.append(f"cameras are numbered, as captures have it: {shown}{', ...' if len(names) > 4 else ''}")
    return found
