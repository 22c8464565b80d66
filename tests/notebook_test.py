"""The notebooks of the guide, executed as a reader would."""

import base64
import io
import pathlib
import re
import sys

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
GUIDE = REPOSITORY / "docs" / "guide"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook with these variables in its environment, and gives it back with its outputs."""

    def run(name: str, given: dict[str, object]) -> nbformat.NotebookNode:
        for variable, value in (given | {"PYTHONPATH": REPOSITORY, "IPYTHONDIR": tmp_path / "ipython"}).items():
            monkeypatch.setenv(variable, str(value))
        notebook = nbformat.read(GUIDE / name, as_version=4)
        client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
        client.create_kernel_manager()
        client.km.kernel_spec.argv[0] = sys.executable  # this environment's, whatever kernels a user has installed
        client.execute()
        return notebook

    return run


def outputs(notebook: nbformat.NotebookNode) -> list:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook: nbformat.NotebookNode) -> list[Image.Image]:
    shown = [one for one in outputs(notebook) if one.output_type in ("execute_result", "display_data") and "image/png" in one.data]
    return [Image.open(io.BytesIO(base64.b64decode(one.data["image/png"]))) for one in shown]


@pytest.mark.slow
def test_the_notebook_of_a_driven_face_runs(small_run, tiny_capture, tmp_path, execute):
    given = {"AVA_RUN": small_run, "AVA_CAPTURES": tiny_capture, "AVA_OUT": tmp_path / "out", "AVA_PICTURE": "64x48", "AVA_STEPS": 2}
    assert len(pictures(execute("driven_face.ipynb", given))) == 2, "the faces, and the driver's expressions on them"
    with Image.open(tmp_path / "out" / "driven.gif") as moving:
        assert moving.n_frames == 8 and moving.size == (48, 64)
        first = np.asarray(moving.convert("RGB"))
        moving.seek(3)
        assert (first != 255).any() and (np.asarray(moving.convert("RGB")) != first).any()


@pytest.mark.slow
def test_the_notebook_of_implicit_functions_runs(tmp_path, execute):
    values = {"train.batch_size": 1, "train.log_every": 1, "data.samples": 16, "eval.batch_size": 1}
    values |= {f"model.{name}": value for name, value in {"code": 16, "head_width": 16, "views": 1, "elements": 6, "symmetric": 2}.items()}
    small = {"CLASS": "vase", "COUNT": 1, "STEPS": 2, "FIT_STEPS": 40, "RESOLUTION": 24, "SAMPLES": 3000}
    small["MORE"] = " ".join(f"--config.{name}={value}" for name, value in values.items())
    notebook = execute("ldif.ipynb", {f"AVA_{name}": value for name, value in small.items()} | {"AVA_OUT": tmp_path})
    meshes, example, sheet = pictures(notebook)
    assert meshes.size == (480, 240) and example.size == (5 * 224, 224) and sheet.size == (3 * 240, 2 * 240)
    text = "".join(one.text for one in outputs(notebook) if one.output_type == "stream")
    found = {name: float(re.search(rf"^{name} +iou ([\d.]+)", text, re.M)[1]) for name in ("network", "fitted", "sphere")}
    assert found["fitted"] > found["sphere"] > 0, "elements that follow the gradient are better than a sphere"
