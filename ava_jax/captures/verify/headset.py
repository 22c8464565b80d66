"""The headset's part of an ava-256 capture, `encoder/`: five infrared cameras, without calibration."""

import functools
import pathlib
from collections.abc import Iterable

import numpy as np

from ava_jax.captures import ava256, reading
from ava_jax.captures.verify import zips as zip_checks
from ava_jax.captures.verify.contents import Depth, Job
from ava_jax.captures.verify.decoder import MapZips
from ava_jax.captures.verify.findings import Book
from ava_jax.captures.verify.zips import Zip
from ava_jax.data import images
from ava_jax.data.archive import Archives

CAMERAS = ("cyclop", "left-eye-atl-temporal", "left-mouth", "right-eye-atl-temporal", "right-mouth")


class Headset:
    """Checks of one capture's `encoder/`."""

    def __init__(self, folder: pathlib.Path, book: Book) -> None:
        """Reads nothing yet; findings go to `book`."""
        self.encoder, self.book = folder / "encoder", book
        self.archives = Archives()
        self.zips: list[Zip] = []

    def paths(self) -> list[tuple[str, pathlib.Path]]:
        """All zips that are there, with their kinds."""
        return [("headset image", path) for path in sorted((self.encoder / "image").glob("cam-*.zip"))]

    def structure(self, look: MapZips) -> None:
        """Which files are there, zips whole, the frame list against their members."""
        self.zips = look(self.paths())
        zip_checks.tell_broken(self.book, self.zips)
        for name in CAMERAS:
            if not (path := self.encoder / "image" / f"cam-{name}.zip").is_file():
                if self.book.chosen is not None and not self.book.chosen.fetched(self.book.relative(path)):
                    self.book.add("note", "headset image", "was not fetched", path)
                else:
                    self.book.add("fault", "headset image", "is missing", path, action="fetch it", refetch=True)
        path = self.encoder / "frame_list.csv"
        if not path.is_file() and self.book.chosen is not None and not self.book.chosen.fetched(self.book.relative(path)):
            self.book.add("note", "frame list", "was not fetched", path)
            return
        try:
            frames, _ = ava256.frame_list(path)
        except ValueError as e:
            detail = str(e).removeprefix(f"{path}: ")
            self.book.add("fault", "frame list", "cannot be used", path, detail=detail, action="fetch it again", refetch=True)
            return
        self.book.count("headset frames", len(frames))
        listed, whole = np.unique(frames), [one for one in self.zips if not one.fault]
        have = functools.reduce(np.union1d, [one.numbers for one in whole], np.zeros(0, np.int32))
        zip_checks.tell_lacking(self.book, whole, listed, np.intersect1d(listed, have))

    def planned(self, depth: Depth) -> int:
        """How many frames `jobs` will give, as long as the members are known."""
        return sum(len(one.numbers) if depth.crc else depth.most(len(one.numbers)) for one in self.zips)

    def forget(self) -> None:
        """Lets go of the zips' members."""
        self.zips = [one.without_members() for one in self.zips]
        self.archives = Archives()

    def jobs(self, depth: Depth) -> Iterable[Job]:
        """What of the contents is to be decoded."""
        for one in self.zips if depth.images != "none" or depth.crc else ():
            if one.fault:
                continue
            frames = zip_checks.look(one.kind, one.path).numbers.tolist()
            chosen, file = depth.choose(frames), self.book.relative(one.path)
            if chosen:
                look = functools.partial(self._image, one.path)
                yield Job(self.book, one.kind, file, chosen, look, "size", "headset images decoded")
            others = sorted(set(frames) - set(chosen)) if depth.crc else []
            if others:
                yield Job(self.book, one.kind, file, others, functools.partial(self._read, one.path), "", "members read")

    def _image(self, path: pathlib.Path, frame: int) -> str:
        picture = reading.decoded(self.archives, path, frame, lambda data: images.decode(data, whole=(1, 1)))
        return f"{picture.shape[0]} x {picture.shape[1]} (height x width)"

    def _read(self, path: pathlib.Path, frame: int) -> None:
        self.archives.read(path, frame)
