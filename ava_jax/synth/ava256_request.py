"""What captures of procedural heads are asked for. Imports nothing heavy: a command shows the defaults."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make.

    Attributes:
      identities, frames (of each), cameras (of the rig; each capture lacks one of them).
      height: of images, pixels; the width follows from the sensor.
      texture_size: texels.
      seed: of everything.
      topology: path of an OBJ with UVs whose vertices and chart the captures have; "other": a stand-in; "": the procedural heads' own.
      template: path of a mesh of the OBJ's vertices; "": the OBJ's own.
    """

    identities: int = 4
    frames: int = 24
    cameras: int = 10
    height: int = 256
    texture_size: int = 512
    seed: int = 0
    topology: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        least = {"identities": 1, "frames": 3, "cameras": 1, "height": 16, "texture_size": 16, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"ava-synth: --{name} must be {value} or more; got {getattr(self, name)}.")
        if self.template and (not self.topology or self.topology == "other"):
            raise ValueError("ava-synth: --template is the mesh of a --topology=OBJ; give that too.")

    @property
    def record(self) -> dict[str, int | str]:
        """The fields, without those that are left at "", which captures of older versions do not name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value != ""}
