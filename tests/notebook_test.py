"""The notebook from a checkpoint to a driven face, executed as a reader would."""

import pathlib
import sys

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "docs" / "guide" / "driven_face.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(small_run, tiny_capture, tmp_path, monkeypatch):
    given = {"AVA_RUN": small_run, "AVA_CAPTURES": tiny_capture, "AVA_OUT": tmp_path / "out", "AVA_PICTURE": "64x48", "AVA_STEPS": 2}
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable  # this environment's, whatever kernels a user has installed
    client.execute()

    pictures = [
        output.data["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type in ("execute_result", "display_data") and "image/png" in output.data
    ]
    assert len(pictures) == 2, "the faces, and the driver's expressions on them"
    with Image.open(tmp_path / "out" / "driven.gif") as moving:
        assert moving.n_frames == 8 and moving.size == (48, 64)
        first = np.asarray(moving.convert("RGB"))
        moving.seek(3)
        assert (first != 255).any() and (np.asarray(moving.convert("RGB")) != first).any()
