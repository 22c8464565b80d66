"""A trained avatar as a library: encode, decode, render on arrays. `ava_jax.load` makes one."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ava_jax.core import cameras as geometry
from ava_jax.core import names as naming
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Array, Assets, Cameras
from ava_jax.tasks.ava256.apps import choices
from ava_jax.tasks.ava256.data import neutrals
from ava_jax.tasks.ava256.data.neutrals import Neutral
from ava_jax.tasks.ava256.model.background import composite
from ava_jax.tasks.ava256.model.codec import AvatarCodec, Decoded
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, CODE_SIDE
from ava_jax.tasks.base import Compile

RIG = choices.LEARNED
_RIGS = 64  # pictures of it that an avatar keeps, 8 MB each at 1024 x 667: it is the same in all frames of a camera
PORTRAIT_MARGIN = 1.4  # picture's height over the mean mesh's: hair stands out of the mesh
_CODE = (CODE_SIDE, CODE_SIDE, CODE_CHANNELS)


class Avatar:
    """A universal avatar codec, trained.

    Everything has a leading batch axis B, as everywhere in this package; where one argument has B = 1 and another more, the one serves all.
    Arguments may be NumPy or JAX arrays, results are JAX arrays. Each function is compiled once for each set of shapes, can be called
    inside `jax.jit`, and can be differentiated.

    Attributes:
      identities: names of the people that were trained on; the last part, the subject's id, names one too.
      cameras: names of the rig's cameras that were trained on.
      texture_size: T, texels.
      topology: of the meshes that `decode` gives.
      mean_vertices: f32 [V, 3], mm, head space: the mean mesh.
      middle: f32 [3], mm, head space: of the mean mesh's box.
      box: f32 [3], mm: the size of that box.
      step: of the checkpoint.
      has_background: whether training learned what stands behind people.
    """

    def __init__(self, compile_model: Compile, config: ConfigDict, assets: Assets, folder: pathlib.Path, step: int):
        """Compiles nothing yet.

        Args:
          compile_model: makes a compiled function of `args` from `fn(model, *args)`.
          config: the run's.
          assets: the run's.
          folder: the run's, where `neutral` looks.
          step: of the checkpoint.
        """
        arrays = {name: np.asarray(value) for name, value in assets.arrays.items()}
        self.identities, self.cameras = tuple(assets.names["identities"]), tuple(assets.names["cameras"])
        self.texture_size = int(config.model.texture_size)
        self.topology = Topology(arrays["faces"], arrays["face_uvs"], arrays["uvs"])
        self.step = step
        self.mean_vertices = arrays["vertices_mean"]
        self.middle = (self.mean_vertices.min(0) + self.mean_vertices.max(0)) / 2  # the mean would lie in the face, where most vertices are
        self.box = self.mean_vertices.max(0) - self.mean_vertices.min(0)
        self.has_background = bool(config.model.background)
        self._folder, self._compile = folder, compile_model
        self._encode_identity = compile_model(lambda model, *args: model.encode_identity(*args))
        self._encode = compile_model(lambda model, *args: model.encode_expression(*args)[0])
        self._decode = compile_model(lambda model, *args: model.decode(*args))
        self._renderer = functools.cache(self._make_renderer)
        self._rig = functools.lru_cache(_RIGS)(self._make_rig)
        self._rig_drawer = functools.cache(self._make_rig_drawer)

    def __repr__(self) -> str:
        return f"Avatar(step {self.step}: {len(self.identities)} identities, {len(self.cameras)} cameras)"

    def full_name(self, name: str) -> str:
        """One of `identities`, of its own name or its subject's id.

        Raises:
          ValueError: there is none, or several.
        """
        return self.identities[self._place("identity", self.identities, name)]

    def neutral(self, *names: str) -> Neutral:
        """Neutral faces of people that were trained on, from the run's folder.

        Args:
          names: one or more of `identities`.

        Returns:
          Texture u8 [B, T, T, 3] and vertices f32 [B, V, 3], mm, a person each.

        Raises:
          ValueError: a name is none of these, or the run's folder lacks the file `neutrals.zip`.
        """
        if not names:
            raise ValueError("Avatar.neutral: name one identity or more, as in neutral(avatar.identities[0]).")
        people = [self.full_name(name) for name in names]
        faces = [neutrals.read(self._folder, person, self.texture_size) for person in people]
        return Neutral(*(np.concatenate(parts) for parts in zip(*faces, strict=True)))

    def encode_identity(self, texture: Array, vertices: Array) -> IdentityCode:
        """Who somebody is, from the neutral face: of `neutral`, or of anybody whose face is tracked with this topology.

        Args:
          texture: [B, T, T, 3], 0-255.
          vertices: [B, V, 3], mm, head space.

        Returns:
          Arrays [B, ...], 62 MB a person at full size.

        Raises:
          ValueError: a shape does not fit.
        """
        return self._encode_identity(*_together("encode_identity", self._face("encode_identity", texture=texture, vertices=vertices)))

    def encode(self, texture: Array, vertices: Array, neutral_texture: Array, neutral_vertices: Array) -> jax.Array:
        """What a face does, as an expression code that can drive anybody.

        Args:
          texture: of the face, [B, T, T, 3], 0-255.
          vertices: of the face, [B, V, 3], mm, head space.
          neutral_texture, neutral_vertices: of the same person's neutral face, likewise.

        Returns:
          f32 [B, 4, 4, 16]: the mean of the code.

        Raises:
          ValueError: a shape does not fit.
        """
        face = self._face("encode", texture=texture, vertices=vertices)
        face |= self._face("encode", neutral_texture=neutral_texture, neutral_vertices=neutral_vertices)
        return self._encode(*_together("encode", face))

    def neutral_expression(self) -> jax.Array:
        """The code of a neutral face, f32 [1, 4, 4, 16]: everybody's, as what is encoded are differences to the own neutral face."""
        side = self.texture_size
        face = np.zeros((1, side, side, 3), np.uint8), np.zeros((1, *self.mean_vertices.shape), np.float32)
        return self.encode(*face, *face)

    def decode(self, identity: IdentityCode, expression: Array, camera_position: Array) -> Decoded:
        """Codes to volumetric primitives and a mesh.

        Args:
          identity: from `encode_identity`.
          expression: [B, 4, 4, 16], from `encode`; zeros are about the mean expression.
          camera_position: [B, 3], mm, head space: colour depends on where it is seen from.

        Returns:
          primitives (volume radii) of B frames, and vertices [B, V, 3], mm, head space.

        Raises:
          ValueError: a shape does not fit.
        """
        if not isinstance(identity, IdentityCode):
            raise ValueError(f"Avatar.decode: identity must come from encode_identity; got {type(identity).__name__}.")
        _check("decode", "expression", expression, ("B", *_CODE))
        _check("decode", "camera_position", camera_position, ("B", 3))
        named = {"identity": identity, "expression": expression, "camera_position": camera_position}
        return self._decode(*_together("decode", named))

    def render(
        self,
        decoded: Decoded,
        cameras: Cameras,
        height: int,
        width: int,
        *,
        identity: str | Sequence[str] | None = None,
        camera: str | Sequence[str] | None = None,
        background: str | Array | None = None,
    ) -> jax.Array:
        """Pictures of decoded avatars.

        Args:
          decoded: B frames, from `decode`.
          cameras: leading axis [B]; mm, head space, and pixels of the picture; `portrait` makes some.
          height, width: of the picture, pixels.
          identity: whose colour calibration to take: a name, or B names. None: the mean of all that were trained on.
          camera: which of the rig's cameras' colour calibration to take, likewise.
          background: None leaves it transparent; "rig" is what training learned behind `identity` seen by `camera`; else a colour [3] or
            a picture [height, width, 3] or [B, height, width, 3], 0-255.

        Returns:
          f32 [B, height, width, 4]: colour 0-255, not clipped, weighted by alpha, and alpha in 0..1 (1 where there is a background).
          `ava_jax.to_uint8` makes a PNG's bytes of it. The calibration's offset is weighted by alpha too, except over "rig", which
          was trained with the whole of it.

        Raises:
          ValueError: a shape does not fit, a name is not known, or "rig" is asked for where it was not trained.
        """
        if not isinstance(decoded, Decoded):
            raise ValueError(f"Avatar.render: decoded must come from decode; got {type(decoded).__name__}.")
        for name, array, trailing in zip(Cameras._fields, cameras, ((3, 3), (3,), (2,), (2,)), strict=True):
            _check("render", f"cameras.{name}", array, ("B", *trailing))
        rig = isinstance(background, str)
        if rig and (background != RIG or not self.has_background or identity is None or camera is None):
            have = "was trained" if self.has_background else "was not trained (config.model.background)"
            raise ValueError(
                f'Avatar.render: background must be None, an array or "rig", which needs an identity and a camera and {have}; '
                f"got {background!r} with identity={identity!r}, camera={camera!r}."
            )
        named = {
            "decoded": decoded.primitives,
            "cameras": Cameras(*map(jnp.asarray, cameras)),
            "camera": self._places("camera", self.cameras, camera),
            "identity": self._places("identity", self.identities, identity),
        }
        if background is not None and not rig:
            named["background"] = _as_pictures(background, height, width)
        given = _together("render", named)
        if rig:
            pairs = zip(*(np.broadcast_to(named[name], len(given[-1])) for name in ("camera", "identity")), strict=True)
            behind = [self._rig(int(camera), int(identity), height, width) for camera, identity in pairs]
            given.append(behind[0] if len(behind) == 1 else jnp.concatenate(behind))
        return self._renderer(height, width, rig)(*given)

    def portrait(self, height: int, width: int, *, azimuth: Any = 0.0, elevation: Any = 0.0, distance: float = 1000.0) -> Cameras:
        """Cameras that look at the head's middle, the whole head in the picture.

        Args:
          height, width: of the picture, pixels.
          azimuth: degrees [B] or a number; 0 is in front, positive to the subject's left (right in the picture).
          elevation: degrees [B] or a number; positive from above; less than 90 to either side.
          distance: from the head's middle, mm.

        Returns:
          Cameras with leading axis [B].

        Raises:
          ValueError: azimuth and elevation do not fit together, or an elevation looks straight up or down.
        """
        try:
            azimuth, elevation = np.broadcast_arrays(*(np.deg2rad(np.atleast_1d(np.asarray(x, np.float64))) for x in (azimuth, elevation)))
        except ValueError as e:
            raise ValueError(f"Avatar.portrait: azimuth and elevation must be numbers or [B] alike ({e}).") from e
        if azimuth.ndim != 1 or not (np.abs(elevation) < np.pi / 2).all():
            raise ValueError("Avatar.portrait: azimuth and elevation must be numbers or [B], elevation between -90 and 90 degrees.")
        level = np.cos(elevation)
        away = np.stack([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)], axis=-1)
        position = self.middle + distance * away
        size = PORTRAIT_MARGIN * max(self.box[1], self.box[0] * height / width)
        focal = height * distance / size
        count = len(position)
        return Cameras(
            rotation=np.stack([geometry.look_at(p, self.middle, np.array([0.0, 1.0, 0.0])) for p in position]).astype(np.float32),
            position=position.astype(np.float32),
            focal=np.full((count, 2), focal, np.float32),
            principal=np.tile(np.array([(width - 1) / 2, (height - 1) / 2], np.float32), (count, 1)),
        )

    def _make_renderer(self, height: int, width: int, rig: bool) -> Callable[..., jax.Array]:
        """The compiled renderer of one size of picture."""

        def draw(model: AvatarCodec, primitives, cameras, camera, identity, behind=None):
            rgba = model.render(primitives, cameras, height, width)
            if rig:
                image = model.calibrate_and_composite(rgba, camera, identity, background=behind)
                return jnp.concatenate([image, jnp.ones_like(image[..., :1])], axis=-1)
            rgba = model.calibration.of_render(rgba, camera, identity)
            if behind is None:
                return rgba
            return jnp.concatenate([composite(rgba, behind), jnp.ones_like(rgba[..., 3:])], axis=-1)

        return self._compile(draw)

    def _make_rig(self, camera: int, identity: int, height: int, width: int) -> jax.Array:
        """The rig's background, [1, H, W, 3]."""
        # Where a program compiles `render` into its own, what is kept must be arrays all the same: hence a program compiled ahead.
        return self._rig_drawer(height, width)(np.array([camera], np.int32), np.array([identity], np.int32))

    def _make_rig_drawer(self, height: int, width: int) -> Callable[..., jax.Array]:
        draw = self._compile(lambda model, camera, identity: model.background_image(camera, identity, height, width))
        return draw.ahead(*2 * [np.zeros(1, np.int32)])

    def _face(self, who: str, **arrays: Array) -> dict[str, jax.Array]:
        """A texture and vertices, checked."""
        (texture_name, texture), (vertices_name, vertices) = arrays.items()
        side = self.texture_size
        _check(who, texture_name, texture, ("B", side, side, 3), " Resize it with Pillow's default filter, as training did.")
        _check(who, vertices_name, vertices, ("B", *self.mean_vertices.shape))
        return {texture_name: jnp.asarray(texture), vertices_name: jnp.asarray(vertices, jnp.float32)}

    def _places(self, what: str, known: Sequence[str], names: str | Sequence[str] | None) -> np.ndarray:
        """Indices int32 [B] of names; -1, the mean of all, for None."""
        if names is None:
            return np.array([-1], np.int32)
        return np.array([self._place(what, known, name) for name in ([names] if isinstance(names, str) else names)], np.int32)

    def _place(self, what: str, known: Sequence[str], name: str) -> int:
        if name in known:
            return known.index(name)
        subjects = [one.rpartition("--")[2] for one in known]
        if subjects.count(name) == 1:
            return subjects.index(name)
        if name in subjects:
            several = ", ".join(one for one, subject in zip(known, subjects, strict=True) if subject == name)
            raise ValueError(f"Avatar: {what} {name!r} has several captures, {several}: name one of them.")
        near = naming.near(name, [*known, *subjects])
        raise ValueError(f"Avatar: there is no {what} {name!r}; of {len(known)}, the nearest are {', '.join(near)}.")


def _check(who: str, name: str, array: Array, shape: tuple[str | int, ...], hint: str = "") -> None:
    got = jnp.shape(array)
    if got[1:] != shape[1:] or len(got) != len(shape) or got[0] < 1:
        one = f" A single one needs an axis in front: {name}[None]." if got == shape[1:] else hint
        raise ValueError(f"Avatar.{who}: {name} must be [{', '.join(map(str, shape))}]; got {got}.{one}")


def _as_pictures(background: Array, height: int, width: int) -> jax.Array:
    """[B, H, W, 3] or [1, 1, 1, 3]."""
    shape = jnp.shape(background)
    if shape != (3,) and (len(shape) not in (3, 4) or shape[-3:] != (height, width, 3)):
        expected = f"a colour [3] or a picture [{height}, {width}, 3], one or B of them"
        raise ValueError(f"Avatar.render: background must be {expected}; got {shape}.")
    return jnp.asarray(background, jnp.float32).reshape(-1, *((1, 1, 3) if shape == (3,) else (height, width, 3)))


def _together(who: str, named: dict[str, Any]) -> list[Any]:
    """Arguments with B = 1 repeated to the B of the others.

    Raises:
      ValueError: two have different B, neither of them 1.
    """
    sizes = {name: {leaf.shape[0] for leaf in jax.tree.leaves(value)} for name, value in named.items()}
    batch = max(max(size) for size in sizes.values())
    if odd := [name for name, size in sizes.items() if not size <= {1, batch}]:
        counts = ", ".join(f"{name} {max(size)}" for name, size in sizes.items())
        raise ValueError(f"Avatar.{who}: every argument must have the same batch axis, or 1; {odd[0]} does not fit: {counts}.")

    def repeat(leaf: Array) -> Array:
        return leaf if leaf.shape[0] == batch else jnp.broadcast_to(leaf, (batch, *leaf.shape[1:]))

    return [jax.tree.map(repeat, value) for value in named.values()]
