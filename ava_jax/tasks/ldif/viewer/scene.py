"""What a client sees in space: ellipsoids, the surface, the shape that it is compared with."""

import numpy as np
import viser
import viser.transforms

from ava_jax.tasks.ldif.apps import tints
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.apps.surface import Surface
from ava_jax.tasks.ldif.apps.tints import axes_of
from ava_jax.viz import ellipsoids

_APART = 0.55  # of the middle to either side, when elements and surface are drawn side by side
_BESIDE = 1.15  # from the surface to the shape that it is compared with
_CHOSEN = 1.04  # times the ellipsoid: a wire around the chosen one
_WIRE = (255, 255, 255)


class Scene:
    """A client's scene."""

    def __init__(self, client: viser.ClientHandle):
        """Empty at first."""
        self._scene = client.scene
        self._elements: viser.BatchedMeshHandle | None = None
        self._chosen: viser.MeshHandle | None = None
        self._surfaces: dict[str, viser.GlbHandle] = {}
        self._count = 0
        self.apart, self.show_elements, self.show_surface = True, True, True
        self.on_pick = lambda index: None

    def draw_elements(self, shape: Shape, chosen: int, mode: str) -> None:
        """Ellipsoids of one radius, reflected ones too; a wire around the chosen one."""
        places, turns, radii, which = _placed(shape)
        colours = _linear(tints.of_elements(shape, mode)[which])
        if self._elements is not None and self._count != len(which):
            self._elements.remove()
            self._elements = None
        corners, faces = ellipsoids.sphere(2)
        if self._elements is None:
            self._count = len(which)
            self._elements = self._scene.add_batched_meshes_simple(
                "/elements", corners, faces, turns, places, batched_scales=radii, batched_colors=colours, lod="off", cast_shadow=False,
                receive_shadow=False,
            )  # fmt: skip
            self._chosen = self._scene.add_mesh_simple("/chosen", *ellipsoids.sphere(1), color=_WIRE, wireframe=True, cast_shadow=False)

            @self._elements.on_click
            def _(event: viser.SceneNodePointerEvent) -> None:
                if event.instance_index is not None:
                    self.on_pick(int(_placed_index(event.instance_index, len(which), shape)))

        else:
            self._elements.batched_positions, self._elements.batched_wxyzs = places, turns
            self._elements.batched_scales, self._elements.batched_colors = radii, colours
        self._chosen.wxyz, self._chosen.scale = turns[chosen], tuple(float(_CHOSEN * r) for r in radii[chosen])
        offset = np.array([-_APART if self.apart else 0.0, 0.0, 0.0])
        self._elements.position, self._chosen.position = offset, offset + places[chosen]
        self._elements.visible = self._chosen.visible = self.show_elements

    def draw_surface(self, surface: Surface, colours: np.ndarray, other: tuple[Surface, np.ndarray] | None) -> None:
        """Surfaces with colours u8 [V, 3] of their vertices; one that the function has not is left out."""
        right = _APART if self.apart and self.show_elements else 0.0
        self._put("/surface", (surface, colours) if self.show_surface and surface.crosses else None, right)
        self._put("/other", other if self.show_surface and other is not None and other[0].crosses else None, right + _BESIDE)

    def _put(self, name: str, drawn: tuple[Surface, np.ndarray] | None, x: float) -> None:
        handle = self._surfaces.get(name)
        if drawn is None:
            if handle is not None:
                handle.visible = False
            return
        data = glb(*drawn)
        if handle is None:
            self._surfaces[name] = self._scene.add_glb(name, data, position=(x, 0.0, 0.0), cast_shadow=False, receive_shadow=False)
            return
        handle.glb_data, handle.position, handle.visible = data, (x, 0.0, 0.0), True


def _placed(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centres [E, 3], quaternions [E, 4], radii [E, 3] and numbers [E] of the elements, reflected ones behind."""
    e, count = shape.elements, len(shape.elements.constant)
    which = np.r_[:count, : shape.symmetric]
    axes = np.array(axes_of(e, shape.rotated))[which]
    places = np.array(e.center, np.float64)[which]
    places[count:, 2] *= -1
    axes[count:, 2] *= -1
    axes[count:, :, 2] *= -1  # a reflection is no rotation; of an ellipsoid, another axis turned round makes it one
    turns = viser.transforms.SO3.from_matrix(axes).wxyz
    return places.astype(np.float32), np.asarray(turns, np.float32), np.sqrt(np.asarray(e.variance, np.float32))[which], which


def _placed_index(instance: int, count: int, shape: Shape) -> int:
    own = count - shape.symmetric
    return instance if instance < own else instance - own


def _linear(colours: np.ndarray) -> np.ndarray:
    """Colours of vertices and instances as the page takes them: u8, linear."""
    return np.rint(255 * (colours / 255.0) ** 2.2).astype(np.uint8)


def glb(surface: Surface, colours: np.ndarray) -> bytes:
    """A surface with smooth normals and colours u8 [V, 3] as a GLB."""
    import trimesh

    rgba = np.concatenate([_linear(colours), np.full((len(colours), 1), 255)], axis=1).astype(np.uint8)
    made = trimesh.Trimesh(surface.vertices, surface.faces, process=False, vertex_colors=rgba)
    return trimesh.exchange.gltf.export_glb(made.scene(), include_normals=True)
