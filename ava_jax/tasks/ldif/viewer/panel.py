"""The panel of one client: which shape, what is shown of it, sliders of the chosen element, what can be saved."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import viser

from ava_jax.tasks.ldif.apps import tints
from ava_jax.tasks.ldif.apps.shape import HALF_SIDE, Shape
from ava_jax.tasks.ldif.data import element_files
from ava_jax.tasks.ldif.viewer.scene import Scene
from ava_jax.tasks.ldif.viewer.worker import Found, Session, Wanted, Worker

FINEST = 192  # points per side
_NOBODY = "-"
_SIZES = (0.25, 3.0)  # times an element's own radii
_MEANING = {
    tints.ELEMENT: "Each point has the colour of the element that is felt most there.",
    tints.FEATURES: "Red, green, blue: the first three principal components of the elements' features, mixed by how much each element "
    "is felt. Like colours have like details.",
    tints.PLACE: "Red, green, blue: x, y, z.",
    tints.PLAIN: "",
}


class Panel:
    """A client's controls and its session."""

    def __init__(self, client: viser.ClientHandle, worker: Worker, shapes: Mapping[str, Shape], resolution: int):
        """Builds the panel of the first shape."""
        self._client, self._worker, self._shapes = client, worker, shapes
        name, shape = next(iter(shapes.items()))
        mode = tints.FEATURES if tints.FEATURES in tints.modes(shape) else tints.ELEMENT
        self.session = Session(Wanted(name, shape, resolution, mode), self._show)
        self._scene, self._chosen, self._found = Scene(client), 0, None
        self._scene.on_pick = self._pick
        self._title = client.gui.add_markdown("")
        self._status = client.gui.add_markdown("*Looking for the surface …*")
        self._add_shape(resolution, mode)
        self._add_element()
        self._add_saving()
        self._loaded()

    @property
    def wanted(self) -> Wanted:
        """What the client sees or will."""
        return self.session.wanted

    def _add_shape(self, resolution: int, mode: str) -> None:
        gui, names = self._client.gui, tuple(self._shapes)
        with gui.add_folder("Shape"):
            name = gui.add_dropdown("Name", names, initial_value=names[0])
            self._mode = gui.add_dropdown("Colours", tints.modes(self.wanted.shape), initial_value=mode)
            self._meaning = gui.add_markdown(_MEANING[mode])
            finest = gui.add_slider(
                "Resolution", min=32, max=FINEST, step=16, initial_value=resolution, hint="Points per side of the grid."
            )
            show = [gui.add_checkbox(label, True) for label in ("Elements", "Surface", "Side by side")]
            self._other = gui.add_dropdown("Compare with", self._comparable(), initial_value=_NOBODY)

        @name.on_update
        def _(_: viser.GuiEvent) -> None:
            self._change(lambda w: dataclasses.replace(w, name=name.value, shape=self._shapes[name.value], other=None))
            self._loaded()

        @self._mode.on_update
        def _(_: viser.GuiEvent) -> None:
            self._meaning.content = _MEANING[self._mode.value]
            self._change(lambda w: dataclasses.replace(w, mode=self._mode.value))

        @finest.on_update
        def _(_: viser.GuiEvent) -> None:
            self._change(lambda w: dataclasses.replace(w, resolution=int(finest.value)))

        for box in show:

            @box.on_update
            def _(_: viser.GuiEvent) -> None:
                self._scene.show_elements, self._scene.show_surface, self._scene.apart = (box.value for box in show)
                self._change(lambda w: w)

        @self._other.on_update
        def _(event: viser.GuiEvent) -> None:
            if event.client is None:  # the shape is another one
                return
            other = self._shapes.get(self._other.value)
            if other is not None:
                self._mode.value = tints.PLACE
            self._change(lambda w: dataclasses.replace(w, other=other, mode=self._mode.value))

    def _comparable(self) -> tuple[str, ...]:
        """Shapes whose elements correspond to this one's: they are as many, and as many symmetric."""
        size = lambda shape: (len(shape.elements.constant), shape.symmetric)  # noqa: E731
        mine = size(self.wanted.shape)
        return (_NOBODY, *(name for name, shape in self._shapes.items() if name != self.wanted.name and size(shape) == mine))

    def _add_element(self) -> None:
        gui, count = self._client.gui, max(len(shape.elements.constant) for shape in self._shapes.values())
        limit = HALF_SIDE
        with gui.add_folder("Element"):
            self._number = gui.add_slider("Number", min=1, max=max(count, 2), step=1, initial_value=1, hint="Or click on one.")
            self._center = [gui.add_slider(f"Move {axis}", min=-limit, max=limit, step=0.005, initial_value=0.0) for axis in "xyz"]
            self._size = gui.add_slider("Size", min=_SIZES[0], max=_SIZES[1], step=0.05, initial_value=1.0, hint="Times its own radii.")
            self._angles = [gui.add_slider(name, min=-180.0, max=180.0, step=1.0, initial_value=0.0) for name in ("Roll", "Pitch", "Yaw")]
            self._constant = gui.add_slider("Strength", min=0.0, max=3.0, step=0.05, initial_value=1.0, hint="Times its own constant.")
            buttons = gui.add_button_group("Undo", ("This one", "All"))

        @self._number.on_update
        def _(event: viser.GuiEvent) -> None:
            if event.client is not None:
                self._pick(int(self._number.value) - 1)

        for slider in (*self._center, self._size, *self._angles, self._constant):

            @slider.on_update
            def _(event: viser.GuiEvent) -> None:
                if event.client is not None:  # else it is `_pick` that sets it
                    self._move()

        @buttons.on_click
        def _(_: viser.GuiEvent) -> None:
            own = self._shapes[self.wanted.name]
            if buttons.value == "All":
                self._change(lambda w: dataclasses.replace(w, shape=own))
            else:
                i = self._chosen
                parts = {name: np.asarray(part)[i] for name, part in own.elements._asdict().items()}
                self._change(lambda w: w.moved(i, **parts))
            self._pick(self._chosen)

    def _add_saving(self) -> None:
        gui = self._client.gui
        with gui.add_folder("Save"):
            buttons = gui.add_button_group("As", ("Elements .txt", "Mesh .ply"))

        @buttons.on_click
        def _(_: viser.GuiEvent) -> None:
            self._save("txt" if buttons.value.endswith("txt") else "ply")

    def _save(self, kind: str) -> None:
        """Sends the elements, or the surface as it is shown, to the client as a file."""
        import trimesh

        stem = self.wanted.name.replace("/", "_")
        if kind == "txt":
            shape = self.wanted.shape
            self._client.send_file_download(
                f"{stem}.txt", element_files.render(shape.elements, shape.symmetric).encode(), save_immediately=True
            )
        elif self._found is None or not self._found.surface.crosses:
            self._client.add_notification("There is no mesh", "The function has no surface.", color="red")
        else:
            found = self._found
            made = trimesh.Trimesh(found.surface.vertices, found.surface.faces, process=False, vertex_colors=found.colours)
            self._client.send_file_download(f"{stem}.ply", made.export(file_type="ply"), save_immediately=True)

    def _loaded(self) -> None:
        """Fits the panel to another shape."""
        shape = self.wanted.shape
        count, features = len(shape.elements.constant), shape.elements.features.shape[1]
        of = f", {features} features each" if features else ""
        self._title.content = f"**{self.wanted.name}**: {count} elements, {shape.symmetric} of them reflected at z = 0{of}"
        self._other.options, self._other.value = self._comparable(), _NOBODY
        self._pick(min(self._chosen, count - 1))

    def _pick(self, i: int) -> None:
        """Chooses an element: the sliders show where it is."""
        shape = self.wanted.shape
        self._chosen = i = min(max(i, 0), len(shape.elements.constant) - 1)
        e, own = shape.elements, self._shapes[self.wanted.name].elements
        self._number.value = i + 1
        for slider, value in zip(self._center, np.asarray(e.center)[i]):
            slider.value = float(np.clip(value, -HALF_SIDE, HALF_SIDE))
        for slider, value in zip(self._angles, np.degrees(np.asarray(e.angles)[i])):
            slider.value = float(np.clip(value, -180, 180))
            slider.disabled = not shape.rotated
        self._size.value = float(np.clip(np.sqrt(e.variance[i][0] / max(own.variance[i][0], 1e-12)), *_SIZES))
        self._constant.value = float(np.clip(e.constant[i] / (own.constant[i] or 1.0), 0, 3))
        self._scene.draw_elements(shape, i, self.wanted.mode)

    def _move(self) -> None:
        """Moves the chosen element to where the sliders are."""
        i, own = self._chosen, self._shapes[self.wanted.name].elements
        values = {
            "center": np.array([slider.value for slider in self._center], np.float32),
            "variance": np.asarray(own.variance[i]) * np.float32(self._size.value) ** 2,
            "constant": np.asarray(own.constant[i]) * np.float32(self._constant.value),
        }
        if self.wanted.shape.rotated:
            values["angles"] = np.radians([slider.value for slider in self._angles]).astype(np.float32)
        self._change(lambda w: w.moved(i, **values))

    def _change(self, change) -> None:
        wanted = self._worker.change(self.session, change)
        self._scene.draw_elements(wanted.shape, self._chosen, wanted.mode)

    def _show(self, found: Found) -> None:
        """Gives the client its surface, in the worker's thread."""
        self._found = found
        self._scene.draw_surface(found.surface, found.colours, found.other)
        self._client.flush()
        size = f"{len(found.surface.vertices):,} vertices" if found.surface.crosses else "the function has no surface"
        more = "" if found.finished else f"; {found.wanted.resolution}³ are on their way …"
        self._status.content = f"*{found.resolution}³ points: {size}, {1e3 * found.seconds:.0f} ms{more}*"
