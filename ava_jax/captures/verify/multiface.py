"""Captures of multiface, `m--DATE--TIME--ID--GHS/`: folders of pictures and meshes as published, one file per frame.

Unlike those of ava-256, K in `KRT` is stored as it is, in pixels of the images, 2048 x 1334, and nothing is zipped.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ava_jax.captures import appearance, projection, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.multiface import files
from ava_jax.captures.multiface.layout import AVERAGE, IMAGES, MESHES, NEUTRALS, SENSOR, STATISTICS, TEXTURES
from ava_jax.captures.verify.contents import Depth, Job
from ava_jax.captures.verify.decoder import check_mesh
from ava_jax.captures.verify.findings import FETCH, Book
from ava_jax.captures.verify.zips import many
from ava_jax.core.cameras import rotation_fault
from ava_jax.core.mesh import Topology
from ava_jax.data import images, obj_files, text_files
from ava_jax.data.archive import Archives

_MOST_TRIED = 20


@dataclasses.dataclass(frozen=True)
class _Rig(Capture):
    """A capture as the checks of calibrations know it: the calibration is `KRT`, pictures are those of one segment, in folders."""

    segment: str = ""

    @property
    def calibration(self) -> pathlib.Path:
        return self.decoder / "KRT"

    @property
    def texture(self) -> pathlib.Path:
        return self.decoder / TEXTURES / self.segment / AVERAGE

    def image(self, camera: str) -> pathlib.Path:
        return self.decoder / IMAGES / self.segment / camera


class _Folders(Archives):
    """Folders of numbered pictures, read as if they were zips of them."""

    def has(self, path: pathlib.Path, number: int) -> bool:
        return (path / f"{number:06d}.png").is_file()

    def read(self, path: pathlib.Path, number: int) -> bytes | None:
        file = path / f"{number:06d}.png"
        return file.read_bytes() if file.is_file() else None


class Multiface:
    """Checks of one capture."""

    def __init__(self, folder: pathlib.Path, book: Book) -> None:
        """Reads nothing yet; findings go to `book`."""
        self.folder, self.book = folder, book
        self.listed: dict[str, list[str]] = {}  # segment -> frames
        self.meshes: list[tuple[str, str]] = []  # (segment, frame) that have mesh and pose
        self.pictures: dict[str, list[pathlib.Path]] = {}  # camera -> images
        self.averages: list[pathlib.Path] = []
        self.vertices: int | None = None
        self.rig: _Rig | None = None
        self.topology: Topology | None = None
        self.seen: tuple[_Rig, projection.Reference] | None = None  # what the calibration was held against

    def structure(self) -> None:
        """Which files are there; calibration, frame list, topology, statistics; the frame list against the folders."""
        for name in ("KRT", "frame_list.txt", *STATISTICS):
            if not (self.folder / name).is_file():
                self.book.add("fault", "file", "is missing", self.folder / name, action="fetch metadata.tar again", refetch=True)
        self._load_list()
        self._load_cameras()
        self._topology()
        self._statistics()
        there = [segment for segment in self.listed if (self.folder / MESHES / segment).is_dir()]
        absent = [segment for segment in self.listed if segment not in there]
        for segment in absent:
            text = "a listed segment that is not there; it may have been left out"
            self.book.add("note", "segment", text, self.folder / MESHES / segment)
        if self.listed and not there:
            self.book.add("fault", "segment", "none of those listed is there", self.folder / MESHES, action="fetch one or more segments")
        for segment in there:
            self._segment(segment)
        self.book.count("segments", len(there))
        if there and not set(there) & set(NEUTRALS):
            text = f"there is none of {', '.join(NEUTRALS)}: the frame nearest to the mean mesh would have to do"
            self.book.add("doubt", "neutral face", text, action="fetch E001_Neutral_Eyes_Open")
        if self.rig is not None and self.meshes:
            self._calibration(self.rig)

    def _load_list(self) -> None:
        path = self.folder / "frame_list.txt"
        if path.is_file():
            try:
                self.listed = files.frame_list(path)
            except ValueError as e:
                self._fault("frame list", path, e)
        self.book.count("frames", sum(map(len, self.listed.values())))

    def _load_cameras(self) -> None:
        path = self.folder / "KRT"
        if not path.is_file():
            return
        try:
            cameras = files.cameras(path)
        except ValueError as e:
            self._fault("calibration", path, e)
            return
        sound = []
        for camera in cameras:
            if fault := files.camera_fault(camera):
                self._fault("calibration", path, ValueError(f"camera {camera.name}: {fault}"))
            else:
                sound.append(camera)
        self.book.count("cameras", len(cameras))
        if sound:
            self.rig = _Rig(
                name=self.folder.name,
                decoder=self.folder,
                cameras=tuple(camera.name for camera in sound),
                focal=np.stack([camera.k[(0, 1), (0, 1)] for camera in sound]),
                principal=np.stack([camera.k[:2, 2] for camera in sound]),
                rotation=np.stack([camera.extrinsics[:, :3] for camera in sound]),
                translation=np.stack([camera.extrinsics[:, 3] for camera in sound]),
                frames=np.zeros(0, np.int32),
                segments=np.zeros(0, object),
                sensor=SENSOR,
            )

    def _topology(self) -> None:
        """The first OBJ gives it, as for those that read multiface."""
        first = next((path for segment in self.listed for path in sorted((self.folder / MESHES / segment).glob("*.obj"))[:1]), None)
        if first is None:
            text = "there is no OBJ beside the meshes; the topology of ava-256 fits them too"
            self.book.add("note", "topology", text, self.folder / MESHES)
            return
        try:
            mesh = obj_files.read(first)
        except (ValueError, OSError) as e:
            self._fault("topology", first, e)
            return
        self.vertices = len(mesh.vertices)
        if mesh.uvs is None or not len(mesh.faces):
            self._fault("topology", first, ValueError("it has no faces with UVs"))
        else:
            self.topology = Topology(faces=mesh.faces, face_uvs=mesh.face_uvs, uvs=mesh.uvs)

    def _statistics(self) -> None:
        path = self.folder / "vert_mean.bin"
        if path.is_file():
            size = path.stat().st_size
            self.vertices = size // 12 if self.vertices is None and size and size % 12 == 0 else self.vertices
            if self.vertices is None or size != 12 * self.vertices:
                many = "its own" if self.vertices is None else str(self.vertices)
                self._fault("statistics", path, ValueError(f"must be {many} vertices of three float32; it has {size} bytes"))
        for name in ("tex_var.txt", "vert_var.txt"):
            if (path := self.folder / name).is_file():
                try:
                    (number,) = text_files.numbers(path.read_bytes())
                    if not 0 <= number < np.inf:
                        raise ValueError(f"{number} is no variance")
                except ValueError as e:
                    self._fault("statistics", path, ValueError(f"must hold one number, a variance ({e})"))
        if (path := self.folder / "tex_mean.png").is_file():
            try:
                images.decode(path.read_bytes(), whole=(1, 1))
            except ValueError as e:
                self._fault("statistics", path, e)

    def _fault(self, kind: str, path: pathlib.Path, error: Exception) -> None:
        detail = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
        action = "correct it, or fetch it again; docs/reference/formats.md says what it must hold"
        self.book.add("fault", kind, "cannot be used", path, detail=detail, action=action, refetch=True)

    def _segment(self, segment: str) -> None:
        """The frames of a segment against its folders."""
        frames = self.listed[segment]
        folder = self.folder / MESHES / segment
        sizes = _files(folder)
        size = None if self.vertices is None else 12 * self.vertices
        wrong = [
            frame for frame in frames if f"{frame}.bin" in sizes and (sizes[f"{frame}.bin"] != size if size else not sizes[f"{frame}.bin"])
        ]
        if wrong:
            detail = f"{sizes[f'{wrong[0]}.bin']} bytes; {self.vertices} vertices take {size}"
            self.book.add(
                "fault", "mesh", "is cut, or of another topology", folder, detail=detail, action=FETCH, frames=wrong, refetch=True
            )
        self._tell_lacking("mesh", folder, frames, [name.removesuffix(".bin") for name in sizes if name.endswith(".bin")])
        self._tell_lacking(
            "head pose", folder, frames, [name.removesuffix("_transform.txt") for name in sizes if name.endswith("_transform.txt")]
        )
        good = [frame for frame in frames if f"{frame}.bin" in sizes and f"{frame}_transform.txt" in sizes and frame not in set(wrong)]
        self.meshes += [(segment, frame) for frame in good]
        for camera in self.rig.cameras if self.rig is not None else ():
            self.pictures.setdefault(camera, []).extend(self._pictures("image", self.folder / IMAGES / segment / camera, frames))
        self.averages += self._pictures("texture", self.folder / TEXTURES / segment / AVERAGE, frames)

    def _pictures(self, kind: str, folder: pathlib.Path, frames: Sequence[str]) -> list[pathlib.Path]:
        """The listed pictures that are there and not empty."""
        if not folder.is_dir():
            level, action = ("fault", "fetch it: every sample needs the average texture") if kind == "texture" else ("doubt", _LEFT_OUT)
            self.book.add(level, kind, "there is no folder of the segment", folder, action=action, refetch=level == "fault")
            return []
        sizes = _files(folder)
        if empty := [frame for frame in frames if sizes.get(f"{frame}.png") == 0]:
            self.book.add("fault", kind, "is empty", folder, action=FETCH, frames=empty, refetch=True)
        self._tell_lacking(kind, folder, frames, [name.removesuffix(".png") for name in sizes])
        return [folder / f"{frame}.png" for frame in frames if sizes.get(f"{frame}.png")]

    def _tell_lacking(self, kind: str, folder: pathlib.Path, frames: Sequence[str], there: Iterable[str]) -> None:
        have = set(there)
        lacking = [frame for frame in frames if frame not in have]
        self.book.count(f"{kind} files", len(frames) - len(lacking))
        if many(len(lacking), len(frames)):
            text = "many listed frames are missing"
            self.book.add(
                "fault", kind, text, folder, detail=f"{len(lacking)} of {len(frames)}", action=FETCH, frames=lacking, refetch=True
            )
        elif lacking:
            self.book.add("note", kind, "listed frames are missing; they are passed over", folder, frames=lacking)

    def _calibration(self, rig: _Rig) -> None:
        """A mesh of a neutral segment, or of the first there is, projected into every camera."""
        order = sorted(self.meshes, key=lambda mesh: mesh[0] not in NEUTRALS)
        for segment, frame in order[:_MOST_TRIED]:
            try:
                points = self._points((segment, frame)).astype(np.float64)
                pose = self._pose((segment, frame))
            except ValueError:
                continue  # told where the contents are looked at
            try:
                found = projection.Reference(int(frame), points @ pose[:, :3].T + pose[:, 3], pose)
                lines = projection.doubts_of(found, rig)
            except ValueError as e:
                self._unfit("fault", "does not fit the mesh", str(e), rig)
                return
            self.seen = dataclasses.replace(rig, segment=segment), found
            for line in lines:
                self._unfit("doubt", "may not fit the mesh", line, rig)
            return

    def _colours(self, _: object) -> None:
        """The mesh's colours against those of some images."""
        rig, found = self.seen
        try:
            line = appearance.doubt(_Folders(), rig, found, self.topology, rig.cameras)
        except reading.Unreadable as e:
            self.book.add("fault", "image", "cannot be decoded", detail=str(e), action=FETCH)
            return
        if line:
            self._unfit("doubt", "may not fit the images", line, rig)

    def _unfit(self, level, what: str, text: str, rig: Capture) -> None:
        action = "docs/reference/formats.md says how KRT and head poses are stored"
        self.book.add(level, "calibration", what, rig.calibration, detail=text.removeprefix(f"{rig.calibration}: "), action=action)

    def planned(self, depth: Depth) -> int:
        """How many frames `jobs` will give."""
        return sum(len(job.frames) for job in self.jobs(depth))

    def forget(self) -> None:
        """Nothing: the names of files that were found are needed for `jobs`."""

    def jobs(self, depth: Depth) -> Iterable[Job]:
        """What of the contents is to be decoded."""
        if depth.images == "none":
            return
        folder = f"{MESHES}/"
        yield Job(self.book, "head pose", folder, self.meshes, lambda key: self._pose(key) is None, "", "head poses read")
        yield Job(self.book, "mesh", folder, depth.choose(self.meshes, 20), self._check, "", "meshes read")
        for camera, paths in self.pictures.items():
            yield from self._job("image", f"{IMAGES}/*/{camera}", depth.choose(paths), SENSOR, "images decoded")
        if self.seen is not None and self.topology is not None:
            yield Job(self.book, "calibration", "KRT", ["its colours"], self._colours)
        yield from self._job("texture", f"{TEXTURES}/*/{AVERAGE}", depth.choose(self.averages), (1, 1), "textures decoded")

    def _job(self, kind: str, file: str, paths: Sequence[pathlib.Path], whole: tuple[int, int], counted: str) -> Iterable[Job]:
        by_name = {"/".join(path.parts[-3:]): path for path in paths}
        look: Callable[[str], str] = functools.partial(_picture, by_name, whole)
        if paths:
            yield Job(self.book, kind, file, list(by_name), look, "size", counted)

    def _check(self, key: tuple[str, str]) -> None:
        check_mesh(self._points(key), self.vertices)

    def _points(self, key: tuple[str, str]) -> np.ndarray:
        """Vertices of a mesh, f32 [V, 3], mm, head space."""
        path = self.folder / MESHES / key[0] / f"{key[1]}.bin"
        data = path.read_bytes()
        if len(data) % 12 or not data:
            raise ValueError(f"{'/'.join(key)}.bin: must be rows of three float32; it has {len(data)} bytes")
        return np.frombuffer(data, "<f4").reshape(-1, 3)

    def _pose(self, key: tuple[str, str]) -> np.ndarray:
        """Head to world, f64 [3, 4], mm."""
        path = self.folder / MESHES / key[0] / f"{key[1]}_transform.txt"
        pose = np.array(text_files.numbers(path.read_bytes()), np.float64)
        if pose.shape != (12,) or not np.isfinite(pose).all():
            raise ValueError(f"{'/'.join(key)}_transform.txt: must be 3 x 4 finite numbers; got {pose.size}")
        pose = pose.reshape(3, 4)
        if fault := rotation_fault(pose[:, :3]):
            raise ValueError(f"{'/'.join(key)}_transform.txt: must begin with a rotation, head to world: {fault}")
        return pose


_LEFT_OUT = "fetch it, unless the camera was left out on purpose"


def _picture(by_name: dict[str, pathlib.Path], whole: tuple[int, int], name: str) -> str:
    picture = images.decode(by_name[name].read_bytes(), whole=whole)
    return f"{picture.shape[0]} x {picture.shape[1]} (height x width)"


def _files(folder: pathlib.Path) -> dict[str, int]:
    """Sizes of the files in a folder, by name; {} where there is none."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
