"""The captures of a run: their small files parsed once, the zips' members looked up once, for everything that reads them."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Iterator, Sequence

from ava_jax.captures import ava256
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.multiface import as_ava256, layout, recording
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.core import names
from ava_jax.data.archive import Archives
from ava_jax.data.remote import location
from ava_jax.data.remote.location import RemotePath

_ASKED_AT_ONCE = 8  # captures on a server that are parsed side by side


@dataclasses.dataclass(frozen=True)
class CaptureSet:
    """Captures of one folder. It is built once and passed down: nothing that is given one parses a file of it again.

    Attributes:
      root: the folder.
      captures: by name, in order.
      topology: path of the OBJ that all meshes have the faces of.
      archives: the captures' zips or, of packed ones, records. All that read them go through here.
      said: lines that were said of them.
    """

    root: pathlib.Path
    captures: tuple[Capture, ...]
    topology: pathlib.Path
    archives: Archives = dataclasses.field(default_factory=RecordArchives, repr=False, compare=False)
    said: set[str] = dataclasses.field(default_factory=set, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.captures)

    def __iter__(self) -> Iterator[Capture]:
        return iter(self.captures)

    @property
    def by_name(self) -> dict[str, Capture]:
        """The captures by their folders' names."""
        return {capture.name: capture for capture in self.captures}

    @property
    def people(self) -> tuple[str, ...]:
        """Names of the captures, in order."""
        return tuple(capture.name for capture in self.captures)

    @property
    def cameras(self) -> set[str]:
        """Ids of the cameras that any capture has."""
        return {camera for capture in self.captures for camera in capture.cameras}

    @property
    def every_camera(self) -> set[str]:
        """Ids of the cameras that any capture has, used or not; of captures on a server, those that are used."""
        here = [c.decoder.parent for c in self.captures if not isinstance(c.decoder, RemotePath) and not c.data_set]
        return self.cameras.union(*(ava256.cameras_with_images(folder, ()) for folder in here))

    def image_size(self, downsample: int) -> tuple[int, int]:
        """(height, width) of images at `downsample`: of all captures, which a batch may mix."""
        return self.captures[0].image_size(downsample)

    @functools.cached_property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments that any capture has, sorted."""
        return tuple(sorted(set().union(*(capture.segments.tolist() for capture in self.captures))))

    def say(self, line: str) -> None:
        """Says on stderr what the user should know of the captures, once."""
        if line not in self.said:
            self.said.add(line)
            print(line, file=sys.stderr, flush=True)

    def find(self, what: str, name: str) -> Capture:
        """The capture of a folder's name or of a subject's id.

        Args:
          what: is named, for the message, as in "--identity".

        Raises:
          ValueError: there is none, and the message gives the nearest subjects; or there are several of one subject.
        """
        if name in self.by_name:
            return self.by_name[name]
        subject = names.pick(what, name, [capture.subject for capture in self.captures])
        first, *others = [capture for capture in self.captures if capture.subject == subject]
        if others:
            folders = ", ".join(capture.name for capture in (first, *others))
            raise ValueError(
                f"{what}={name}: {1 + len(others)} captures are of that subject, {folders}: name one of them, as in {what}={first.name}."
            )
        return first


def load(
    root: str | pathlib.Path | RemotePath,
    ids: str = "",
    *,
    cameras: Sequence[str] = (),
    topology: str = "",
    index_folder: pathlib.Path | None = None,
) -> CaptureSet:
    """Parses the captures below a folder.

    Args:
      root: the folder; a path or a URL as text, or what `location.at` makes of one.
      ids: CSV with the columns `mcd,sid,mct` of those to use; "" = all.
      cameras: only these; () = all.
      topology: path of the OBJ; "" = the layout's own, in `root`.
      index_folder: where the zips' indexes are kept from run to run; None: nowhere.

    Raises:
      ValueError: there is no capture, one that `ids` lists is not there, a file of one is missing or malformed, one has no camera, or
        they differ in the size of their images.
    """
    folder = location.at(root) if isinstance(root, str) and root else root
    folders = ava256.find(folder, ids)
    # A server is waited for; here one after the other is as quick.
    with concurrent.futures.ThreadPoolExecutor(_ASKED_AT_ONCE if isinstance(folder, RemotePath) else 1) as pool:
        captures = tuple(pool.map(lambda of: load_one(of, tuple(cameras)), folders))
    first = captures[0]
    for capture in captures:
        if capture.sensor != first.sensor:
            sizes = [" x ".join(map(str, c.sensor)) for c in (first, capture)]
            raise ValueError(
                f"{capture.calibration}: captures that are used together must have images of one size (height x width): this one has "
                f"{sizes[1]}, {first.name} {sizes[0]}. Convert or pack them to one, or use them apart (config.data.ids)."
            )
    found = CaptureSet(folder, captures, topology_of(folder, captures, topology), RecordArchives(index_folder))
    for capture in captures:
        if not capture.neutral_segment:
            found.say(
                f"{capture.list_of_frames}: no segment {', '.join(layout.NEUTRALS)} is there: the frame nearest to the mean "
                "mesh is taken for the neutral face"
            )
    return found


def load_one(folder: pathlib.Path | RemotePath, cameras: tuple[str, ...] = (), *, judge: bool = True) -> Capture:
    """Parses a capture, of ava-256 or of multiface; as `ava256.load`, which says what it raises."""
    if recording.is_one(folder):
        return as_ava256.load(folder, cameras, judge=judge)
    return ava256.load(folder, cameras, judge=judge)


def topology_of(folder: pathlib.Path | RemotePath, captures: Sequence[Capture], named: str = "") -> pathlib.Path | RemotePath:
    """The OBJ that is named, the layout's own, or, of captures of multiface alone, the first one beside their meshes."""
    if named:
        return location.at(named)
    own = folder / ava256.TOPOLOGY
    if not captures[0].data_set or not all(isinstance(capture, as_ava256.MultifaceCapture) for capture in captures):
        return own
    beside = [own, captures[0].decoder.parent / ava256.TOPOLOGY]  # the folder may be the one capture
    found = next((path for path in beside if path.is_file()), None)
    return found or captures[0].recording.topology() or own
