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
    """

    identities: int = 4
    frames: int = 24
    cameras: int = 10
    height: int = 256
    texture_size: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"identities": 1, "frames": 3, "cameras": 1, "height": 16, "texture_size": 16, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"ava-synth: --{name} must be {value} or more; got {getattr(self, name)}.")
