"""Pictures: bodies where they belong, errors in their colours, sheets and videos as files."""

import functools

import imageio.v2 as imageio
import numpy as np
import pytest
from mesh_fit_folders import config
from PIL import Image

from ava_jax.tasks.base import Example
from ava_jax.tasks.mesh_fit.data import source, synthesize
from ava_jax.tasks.mesh_fit.evaluation import pictures, view

SQUARE = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bodies") / "data"
    synthesize.write_default(folder, small=True)
    found = config(folder, data__held_out__sequences=("dance",))
    found.data.read_threads = 1
    return found


def lagging(sources):
    sources = np.asarray(sources)
    return sources[:, -1] - 0.5 * (sources[:, -1] - sources[:, -2])


def predict(model, batch):
    return {"vertices": model(batch["source"])}


def compile_model(fn):
    return functools.partial(fn, lagging)


def body_pixels(picture):
    return (picture != view.PAPER).any(-1)


def test_a_mesh_fills_its_view_and_only_its_front_is_drawn():
    look = view.View.around(SQUARE, 60, 50)
    drawn = body_pixels(look.draw(SQUARE, FACES))
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert drawn.shape == (60, 50) and drawn.mean() > 0.5
    assert rows[0] >= 0 and columns[0] >= 1 and columns[-1] <= 48  # whole, with some room
    assert columns[-1] - columns[0] > 42
    assert not body_pixels(look.draw(SQUARE, FACES[:, ::-1])).any()


def test_up_is_up_and_the_bodys_left_is_to_the_right():
    look = view.View.around(SQUARE, 60, 60)
    colours = np.where(SQUARE[:, 1:2] > 0, [255.0, 0, 0], [0, 0, 255.0])
    picture = look.draw(SQUARE, FACES, colours).astype(float)
    assert picture[:25, :, 0].sum() > 3 * picture[:25, :, 2].sum() and picture[35:, :, 2].sum() > 3 * picture[35:, :, 0].sum()
    colours = np.where(SQUARE[:, :1] > 0, [255.0, 0, 0], [0, 0, 255.0])
    picture = look.draw(SQUARE, FACES, colours).astype(float)
    assert picture[:, 35:, 0].sum() > 3 * picture[:, 35:, 2].sum()


def test_one_mesh_in_several_colours():
    look = view.View.around(SQUARE, 40, 40)
    grey, red = look.draw_all(SQUARE, FACES, [None, np.tile([200.0, 0, 0], (4, 1))])
    np.testing.assert_array_equal(grey, look.draw(SQUARE, FACES))
    np.testing.assert_array_equal(red, look.draw(SQUARE, FACES, np.tile([200.0, 0, 0], (4, 1))))
    np.testing.assert_array_equal(body_pixels(grey), body_pixels(red))


def test_errors_have_colours_that_read_in_grey():
    error = view.error_mm(np.array([[0.003, 0, 0.004], [0, 0, 0]]), np.zeros((2, 3)))
    np.testing.assert_allclose(error, [5.0, 0.0])
    colours = view.error_colours(np.linspace(0, view.FULL_SCALE, 50))
    lightness = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) < 0).all() and lightness[0] - lightness[-1] > 150
    np.testing.assert_array_equal(view.error_colours([40.0]), colours[-1:])
    bar = view.legend(300)
    assert bar.shape[1] == 300
    np.testing.assert_array_equal(bar[10, 16], np.rint(colours[0]))
    np.testing.assert_array_equal(bar[10, 283], np.rint(colours[-1]))


def test_panels_tell_the_error(settings):
    assets = source.prepare(settings)
    sample = source.source(settings, "unseen_sequences", assets)[3]
    skin, target = sample["source"][-1], sample["target"]
    look = view.View.around(target, 80, 60)
    drawn = pictures.panels(look, assets.arrays["faces"], skin, target, target)
    error = view.error_mm(skin, target).mean()
    assert [caption for caption, _ in drawn] == [
        "source",
        "prediction",
        f"scan; source is {error:.1f} mm off",
        "scan; prediction is 0.0 mm off",
    ]
    perfect = drawn[3][1].reshape(-1, 3).astype(float)
    perfect = perfect[perfect[:, 0] > 150]  # without edges, which blend with the paper
    assert len(perfect) > 100
    assert np.abs(perfect / perfect[:, :1] * 238 - [238, 236, 226]).max() < 12  # shades of ivory
    assert len(pictures.panels(look, assets.arrays["faces"], skin, target, None)) == 2


def test_progress_shows_every_sample(settings):
    assets = source.prepare(settings)
    samples = source.source(settings, "train", assets)
    batch = {name: np.stack([samples[i][name] for i in (0, 1)]) for name in samples[0]}
    drawn = pictures.progress({"vertices": lagging(batch["source"])}, batch, assets)["meshes"]
    assert drawn.dtype == np.uint8 and drawn.shape[0] > 2 * pictures.PANEL[0] and drawn.shape[1] > 4 * pictures.PANEL[1]
    none_yet = pictures.progress({"vertices": np.zeros_like(batch["target"])}, batch, assets)["meshes"]
    assert none_yet.shape == drawn.shape


def test_best_and_worst(settings, tmp_path):
    sample = source.source(settings, "unseen_sequences", source.prepare(settings))[2]
    example = Example("best, mse 1.00e-06", {"sequence": "dance", "frame": "00003"}, sample)
    assert pictures.write_examples(compile_model, predict, settings, [example], [example], tmp_path / "x.jpg")
    assert Image.open(tmp_path / "x.jpg").width > 8 * pictures.PANEL[1]
    assert not pictures.write_examples(compile_model, predict, settings, [], [], tmp_path / "none.jpg")


def test_artefacts(settings, tmp_path):
    written = pictures.write_artefacts(compile_model, predict, settings, source.prepare(settings), tmp_path)
    assert [path.name for path in written] == ["jitter.csv", "jitter.md", "motion.jpg", "motion.mp4", "motion"]
    assert all(path.exists() for path in written)
    with imageio.get_reader(tmp_path / "motion.mp4") as video:
        assert video.count_frames() == 5
        first = video.get_data(0)
    assert body_pixels(np.asarray(Image.open(tmp_path / "motion" / "000000.png")))[44:300].mean() > 0.05
    assert first.shape[1] == 4 * pictures.PANEL[1]
    settings = settings.copy_and_resolve_references()
    settings.data.held_out.last_frames, settings.data.held_out.sequences = 0, ()
    assert pictures.write_artefacts(compile_model, predict, settings, source.prepare(settings), tmp_path) == []
