"""What a conversion is asked for. Imports nothing heavy: the command shows the defaults."""

import dataclasses
import pathlib
import re


@dataclasses.dataclass(frozen=True)
class Request:
    """What to convert, and how.

    Attributes:
      rig: file or folder of the cameras; format: its name, "" tells it by the files; images: folder of the pictures, where it is not where
        the format has it.
      out: the folder of captures; subject: the person's id; recorded: date and time of the capture's name, yyyymmdd-hhmm.
      meshes: folder or npz of the tracked meshes; None: those that the rig names.
      topology: OBJ of their faces with UVs; None: the first mesh.
      flame_model: the user's FLAME, for the parameters that the rig names.
      masks: folder of masks, named as the images; None: those that the rig names.
      scale: mm per unit of the rig and its meshes; distance: two cameras and the mm between them. None: what the format says.
      template: mesh of the same topology in head axes; None: the cameras tell what is up and forward.
      skull: file of vertices that no expression moves; None: found.
      segments: CSV seg_id,frame_id; neutral: frame of the neutral face. None: see `plan.segments`.
      every: every so many of the frames.
      height: of the pictures, pixels, at most; texture_size: texels a side.
      quality: of the AVIF files.
      linear: whether sRGB's curve is taken off the pictures.
      fill: whether unseen texels are filled.
      neck: mm of neck that is grown from the mesh's border; 0: none.
      force: goes on where the checks say that the conventions cannot be right.
      jobs: processes.
    """

    rig: pathlib.Path
    out: pathlib.Path
    subject: str
    format: str = ""
    images: pathlib.Path | None = None
    recorded: str = "20000101-0000"
    meshes: pathlib.Path | None = None
    topology: pathlib.Path | None = None
    flame_model: pathlib.Path | None = None
    masks: pathlib.Path | None = None
    scale: float | None = None
    distance: tuple[str, str, float] | None = None
    template: pathlib.Path | None = None
    skull: pathlib.Path | None = None
    segments: pathlib.Path | None = None
    neutral: int | None = None
    every: int = 1
    height: int = 1024
    texture_size: int = 1024
    quality: int = 85
    linear: bool = False
    fill: bool = True
    neck: float = 0.0
    force: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.subject):
            raise ValueError(f"--subject must be letters and digits, the end of the capture's name; got {self.subject!r}.")
        if not re.fullmatch(r"\d{8}-\d{4}", self.recorded):
            raise ValueError(f"--recorded must be a date and a time, as in 20260131-0930; got {self.recorded!r}.")
        if self.scale is not None and not 0 < self.scale < 1e9:
            raise ValueError(f"--scale must be the mm per unit, positive; got {self.scale:g}.")
        if self.scale is not None and self.distance is not None:
            raise ValueError("--scale and --distance both say how long a unit is: give one of them.")
        for name, least, most in (
            ("every", 1, 1 << 31),
            ("height", 16, 8192),
            ("texture_size", 16, 4096),
            ("quality", 1, 100),
            ("jobs", 1, 4096),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"--{name} must be from {least} to {most}; got {getattr(self, name)}.")
        if not 0 <= self.neck <= 300:
            raise ValueError(f"--neck must be from 0 to 300 mm; got {self.neck:g}.")

    @property
    def name(self) -> str:
        """Of the capture's folder."""
        return f"{self.recorded.replace('-', '--')}--{self.subject}"

    def record(self) -> dict:
        """All that the result depends on, for a file: JSON's types."""
        free = ("jobs", "force")
        return {
            name: str(value.expanduser().resolve()) if isinstance(value, pathlib.Path) else value
            for name, value in vars(self).items()
            if name not in free
        }
