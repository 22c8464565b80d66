"""The dome's part of an ava-256 capture, `decoder/`: its structure, its calibration, and what of its contents is to be decoded."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ava_jax.captures import appearance, ava256, calibration, projection, reading, statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.packed import index
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.verify import packed
from ava_jax.captures.verify import zips as zip_checks
from ava_jax.captures.verify.contents import Depth, Job
from ava_jax.captures.verify.findings import FETCH, Book
from ava_jax.captures.verify.zips import Zip
from ava_jax.core.mesh import Topology
from ava_jax.data import images, mesh_files

MapZips = Callable[[Sequence[tuple[str, pathlib.Path]]], list[Zip]]

_SURFACES = {"head pose": "head_pose", "mesh": "vertices", "texture": "texture"}  # kind of zip -> attribute of a Capture
_SMALL = (
    "kinematic_tracking/registration_vertices_mean.npy",
    "kinematic_tracking/registration_vertices_variance.txt",
    "uv_image/color_mean.png",
)
_MOST_LABEL = 10
_TIMES = {"mesh": 20, "head pose": 1 << 31}  # the samples of a camera's pictures, by kind: of head poses all
_TEXELS = 64  # of the mean texture that statistics are tried with


class Decoder:
    """Checks of one capture's `decoder/`."""

    def __init__(self, folder: pathlib.Path, book: Book, topology: Topology | None, vertices: int | None) -> None:
        """Reads nothing yet but the index of a packed capture.

        Args:
          folder: the capture's.
          book: findings go there.
          topology: that its meshes should have; None: it is not known.
          vertices: how many the topology has; None: it is not known.
        """
        self.folder, self.book, self.topology, self.vertices = folder, book, topology, vertices
        self.decoder = folder / "decoder"
        self.capture: Capture | None = None
        self.zips: list[Zip] = []
        self.packed: index.CaptureIndex | None = packed.find(book)
        self.book.packed |= self.packed is not None
        self.archives = RecordArchives()  # of listed frames alone, once they have been looked up
        self.every_frame = RecordArchives()

    def paths(self) -> list[tuple[str, pathlib.Path]]:
        """All zips that are there, with their kinds; of a packed capture, those in whose stead it has streams."""
        if self.packed is not None:
            return packed.streams(self.packed)
        found = [(kind, path) for kind, path in self._surfaces().items() if path.is_file()]
        found += [("image", path) for path in sorted((self.decoder / "image").glob("cam*.zip"))]
        found += [("segmentation", path) for path in sorted((self.decoder / "segmentation_parts").glob("cam*.zip"))]
        return found + [("keypoints", path) for path in [_at(self.decoder).keypoints] if path.is_file()]

    def structure(self, look: MapZips) -> None:
        """Which files are there; zips whole; calibration, frame list, statistics; the members of the zips; the neutral face.

        Args:
          look: reads the directories of zips, `zips.look` of each.
        """
        if self.packed is not None:
            packed.shards(self.book, self.packed)
        elif self.book.packed:
            return  # its index cannot be used
        self.zips = look(self.paths())
        self._tell_missing()
        zip_checks.tell_broken(self.book, self.zips)
        self.capture = self._load()
        self._statistics()
        if self.capture is None:
            return
        self.book.count("cameras", len(self.capture.cameras))
        self.book.count("frames", len(self.capture.frames))
        self._members(self.capture)
        whole = {one.kind for one in self.zips if not one.fault}
        if {"mesh", "head pose"} <= whole:
            self._calibration(self.capture)
        if {"mesh", "texture"} <= whole:
            try:
                reading.neutral_frame(self.archives, self.capture)
            except ValueError as e:
                action = f"training needs it: fetch the segment {self.capture.neutral_segment} too"
                chosen = self.book.chosen
                part = chosen and any(chosen.entries[file].selection for file in self._files("mesh", "texture") if chosen.fetched(file))
                self.book.add("doubt" if part else "fault", "neutral face", "there is none", detail=str(e), action=action)

    def _files(self, *kinds: str) -> list[str]:
        """Paths in the capture's folder of the zips of some kinds."""
        return [self.book.relative(one.path) for one in self.zips if one.kind in kinds]

    def _left_out(self, path: pathlib.Path) -> bool:
        """Whether a download's manifest knows of the capture, and fetched nothing of this file."""
        return self.book.chosen is not None and not self.book.chosen.fetched(self.book.relative(path))

    def _surfaces(self) -> dict[str, pathlib.Path]:
        names = {"head pose": "head_pose/head_pose", "mesh": "kinematic_tracking/registration_vertices", "texture": "uv_image/color"}
        return {kind: self.decoder / f"{name}.zip" for kind, name in names.items()}

    def _tell_missing(self) -> None:
        needed = [*self._surfaces().values(), *(self.decoder / name for name in ("camera_calibration.json", "frame_list.csv", *_SMALL))]
        have = {one.path for one in self.zips}
        for path in needed:
            if path in have or path.is_file():
                continue
            if self._left_out(path):
                self.book.add("doubt", "file", "was not fetched, and training needs it", path, action="fetch it too, to train on it")
            else:
                self.book.add("fault", "file", "is missing, and training needs it", path, action="fetch it", refetch=True)
        if not any(one.kind == "image" for one in self.zips):
            chosen = self.book.chosen
            part = chosen is not None and not any(chosen.fetched(file) for file in chosen.entries if file.startswith("decoder/image/"))
            text = "there is no camera's zip; the capture can be predicted, and not trained on"
            self.book.add("doubt" if part else "fault", "image", text, self.decoder / "image", action="fetch the images")
        self._tell_gone(set(needed))
        for path in sorted(self.folder.rglob("*.part")):
            self.book.add("doubt", "file", "of a download that has not ended", path, action="run the same ava ava256 download again")

    def _tell_gone(self, told: set[pathlib.Path]) -> None:
        """Files that were fetched, and are not there any more; `told` have been looked at."""
        for file in sorted(self.book.chosen.entries if self.book.chosen is not None else ()):
            path = self.folder / file
            if file.startswith("decoder/") and self.book.chosen.fetched(file) and path not in told and not path.is_file():
                self.book.add("fault", "file", "was fetched, and is not there any more", path, action=FETCH, refetch=True)

    def _load(self) -> Capture | None:
        """The capture with the cameras that can be used; None where calibration or frame list cannot be read."""
        path = self.decoder / "camera_calibration.json"
        good: list[str] = []
        if path.is_file():
            try:
                for name, entry in calibration.read(path).items():
                    good += self._sound_camera(path, name, entry)
            except ValueError as e:
                self._fault("calibration", path, e)
        if good:
            self._tell_cameras(set(good))
        if not good or not (self.decoder / "frame_list.csv").is_file():
            return None
        try:
            return ava256.load(self.folder, tuple(good))
        except ValueError as e:
            listed = str(e).startswith(str(self.decoder / "frame_list.csv"))
            self._fault("frame list" if listed else "camera", self.decoder / "frame_list.csv" if listed else "", e)
            return None

    def _sound_camera(self, path: pathlib.Path, name: str, entry) -> list[str]:
        """The camera's name in a list; [] where its numbers cannot be a camera's."""
        try:
            calibration.camera(path, name, entry)
        except ValueError as e:
            self._fault("calibration", path, e)
            return []
        return [name]

    def _fault(self, kind: str, path: pathlib.Path | str, error: Exception) -> None:
        detail = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
        action = "correct it, or fetch the file again; docs/reference/formats.md says what it must hold"
        self.book.add("fault", kind, "cannot be used", path, detail=detail, action=action, refetch=bool(path))

    def _tell_cameras(self, calibrated: set[str]) -> None:
        have = {kind: {one.path.stem.removeprefix("cam") for one in self.zips if one.kind == kind} for kind in ("image", "segmentation")}
        if not have["image"]:
            return
        for name in sorted(calibrated - have["image"]):
            if self._left_out(self.decoder / "image" / f"cam{name}.zip"):
                self.book.add("note", "image", "calibrated cameras that were not fetched", self.decoder / "image" / f"cam{name}.zip")
                continue
            text = "calibrated cameras without images, which are not used"
            self.book.add(
                "doubt", "image", text, self.decoder / "image" / f"cam{name}.zip", action="fetch them, unless they were left out on purpose"
            )
        for name in sorted(have["image"] - calibrated):
            text = "of a camera without calibration, which is not used"
            self.book.add("doubt", "image", text, self.decoder / "image" / f"cam{name}.zip", action="fetch camera_calibration.json again")
        for name in sorted((have["image"] & calibrated) - have["segmentation"]):
            text = "is missing: the camera is trained on, and cannot be scored"
            self.book.add("note", "segmentation", text, self.decoder / "segmentation_parts" / f"cam{name}.zip")

    def _statistics(self) -> None:
        if not all((self.decoder / name).is_file() for name in _SMALL):
            return
        stand_in = _at(self.decoder)
        try:
            found = statistics.combine([stand_in], _TEXELS)
        except ValueError as e:
            path = next((self.decoder / name for name in _SMALL if str(e).startswith(str(self.decoder / name))), "")
            self._fault("statistics", path, e)
            return
        if self.vertices is not None and len(found.vertices_mean) != self.vertices:
            text = f"has another number of vertices than the topology, {self.vertices}"
            action = "give the OBJ that the meshes were made with (--topology=FILE)"
            self.book.add("fault", "statistics", text, self.decoder / _SMALL[0], detail=f"{len(found.vertices_mean)}", action=action)
        self.vertices = len(found.vertices_mean) if self.vertices is None else self.vertices

    def _members(self, capture: Capture) -> None:
        """Frame list against members. The images say which frames were fetched: the rest of the list may have been left out."""
        listed = np.unique(capture.frames)
        whole = [one for one in self.zips if not one.fault]
        base = [one.numbers for one in whole if one.kind == "image"] or [one.numbers for one in whole]
        expected = np.intersect1d(listed, functools.reduce(np.union1d, base, np.zeros(0, np.int32)))
        if len(absent := np.setdiff1d(listed, expected, assume_unique=True)):
            many = zip_checks.many(len(absent), len(listed))
            text = "listed frames of which no camera has an image"
            asked = self.book.chosen.frames_of_any(self._files("image")) if self.book.chosen is not None else None
            if asked is not None and not len(np.intersect1d(absent, asked, assume_unique=True)):
                many, text = False, "listed frames that were not fetched"
            action = "fetch them, unless only some segments or every nth frame were asked for" if many else ""
            detail = f"{len(absent)} of {len(listed)}"
            self.book.add(
                "doubt" if many else "note",
                "frame list",
                text,
                self.decoder / "frame_list.csv",
                detail=detail,
                action=action,
                frames=absent.tolist(),
            )
        if not len(expected):
            return
        needed = ("image", *_SURFACES)
        zip_checks.tell_lacking(self.book, [one for one in whole if one.kind in needed], listed, expected)
        zip_checks.tell_lacking(self.book, [one for one in whole if one.kind not in needed], listed, expected, strict=False)

    def _calibration(self, capture: Capture) -> None:
        """The neutral mesh projected into every camera."""
        if capture.distorted:
            text = "gives a distortion; images are taken as undistorted, as published ones are"
            self.book.add("note", "calibration", text, capture.calibration, detail=f"{len(capture.distorted)} cameras")
        action = "see the pictures of ava train --check; docs/reference/formats.md says how K, T and head poses are stored"
        try:
            lines = projection.doubts_of(projection.reference(self.archives, capture), capture)
        except ValueError as e:
            self.book.add(
                "fault", "calibration", "does not fit the mesh", capture.calibration, detail=_of(capture, e), action=action, refetch=True
            )
            return
        for line in lines:
            self.book.add("doubt", "calibration", "may not fit the mesh", capture.calibration, detail=_of(capture, line), action=action)

    def planned(self, depth: Depth) -> int:
        """How many frames `jobs` will give, as long as the members are known."""
        colours = int(self._compares_colours(depth))
        return colours + sum(len(one.numbers) if depth.crc else depth.most(len(one.numbers), _factor(one)) for one in self.zips)

    def forget(self) -> None:
        """Lets go of the zips' members."""
        self.zips = [one.without_members() for one in self.zips]
        self.archives, self.every_frame = RecordArchives(), RecordArchives()

    def jobs(self, depth: Depth) -> Iterable[Job]:
        """What of the contents is to be decoded."""
        for one in self.zips if depth.images != "none" or depth.crc else ():
            if one.fault:
                continue
            file, frames = self.book.relative(one.path), zip_checks.look(one.kind, one.path).numbers.tolist()
            chosen = depth.choose(frames, _factor(one))
            look, same = self._look(one)
            if chosen:
                yield Job(self.book, one.kind, file, chosen, look, same, _COUNTED.get(one.kind, ""))
            others = sorted(set(frames) - set(chosen)) if depth.crc else []
            if others:
                yield Job(self.book, one.kind, file, others, functools.partial(self._read, one.path), "", "members read")
        if self._compares_colours(depth):
            yield Job(self.book, "calibration", self.book.relative(self.capture.calibration), [_COLOURS], self._colours)

    def _compares_colours(self, depth: Depth) -> bool:
        return depth.images != "none" and self.topology is not None and self.capture is not None and self._can_be_seen()

    @property
    def _known(self) -> Capture:
        """The capture; where its calibration or frame list cannot be used, what is known of one without them."""
        if self.capture is not None:
            return self.capture
        known = _at(self.decoder)
        return known if self.packed is None else dataclasses.replace(known, sensor=self.packed.sensor)

    def _can_be_seen(self) -> bool:
        return {"mesh", "head pose", "texture", "image"} <= {one.kind for one in self.zips if not one.fault}

    def _look(self, one: Zip) -> tuple[Callable[[int], object], str]:
        """How a frame of a zip is decoded, and what must be the same for all."""
        if one.kind == "head pose":
            return self._pose, ""
        decode, same = {
            "image": (self._image, "size"),
            "segmentation": (self._labels, "size"),
            "texture": (lambda data: _size(images.decode(data, whole=(1, 1))), "size"),
            "mesh": (self._mesh, "number of vertices"),
            "keypoints": (_keypoints, ""),
        }[one.kind]
        return lambda frame: reading.decoded(self.every_frame, one.path, frame, decode), same

    def _read(self, path: pathlib.Path, frame: int) -> None:
        self.every_frame.read(path, frame)

    def _pose(self, frame: int) -> None:
        reading.head_pose(self.every_frame, self._known, frame)

    def _image(self, data: bytes) -> str:
        return _size(images.decode(data, whole=self._known.sensor))

    def _labels(self, data: bytes) -> str:
        labels = images.decode_labels(data, whole=self._known.sensor)
        if labels.max() > _MOST_LABEL:
            raise ValueError(f"class numbers must be 0 to {_MOST_LABEL}; got {labels.max()}")
        return _size(labels)

    def _mesh(self, data: bytes) -> str:
        vertices = mesh_files.read_vertices(data)
        check_mesh(vertices, self.vertices)
        return f"{len(vertices)}"

    def _colours(self, _: object) -> None:
        """The mesh's colours against those of some images."""
        whole = [one.path.stem.removeprefix("cam") for one in self.zips if one.kind == "image" and not one.fault]
        try:
            found = projection.reference(self.archives, self.capture)
            line = appearance.doubt(self.archives, self.capture, found, self.topology, whole)
        except (ValueError, reading.Unreadable) as e:
            self.book.add("fault", "image", "cannot be decoded", detail=str(e), action=FETCH)
            return
        if line:
            action = "see the pictures of ava train --check"
            self.book.add(
                "doubt", "calibration", "may not fit the images", self.capture.calibration, detail=_of(self.capture, line), action=action
            )


_COLOURS = "its colours"
_COUNTED = {
    "head pose": "head poses read",
    "image": "images decoded",
    "segmentation": "segmentations decoded",
    "mesh": "meshes read",
    "texture": "textures decoded",
}


def check_mesh(vertices: np.ndarray, count: int | None) -> None:
    """Holds vertices [V, 3] against the number that they should be; None takes any.

    Raises:
      ValueError: they are others, or not all are finite.
    """
    if count is not None and len(vertices) != count:
        raise ValueError(f"it has {len(vertices)} vertices; the topology has {count}")
    if not np.isfinite(vertices).all():
        raise ValueError(f"{int((~np.isfinite(vertices).all(1)).sum())} of its vertices are not finite")


def _keypoints(data: bytes) -> None:
    reading.parse_keypoints(data)


def _factor(one: Zip) -> int:
    return _TIMES.get(one.kind, 1)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]} (height x width)"


def _of(capture: Capture, error: Exception | str) -> str:
    return str(error).removeprefix(f"{capture.calibration}: ")


def _at(decoder: pathlib.Path) -> Capture:
    """A capture of which only the paths are known."""
    none = np.zeros((0, 3))
    return Capture(
        decoder.parent.name, decoder, (), none[:, :2], none[:, :2], np.zeros((0, 3, 3)), none, np.zeros(0, np.int32), np.zeros(0, object)
    )
