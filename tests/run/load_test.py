"""`load`, of tasks that have something to be called and of those that have not."""

import pytest
from tiny_task import ASSETS, Offset, Tiny

from ava_jax.run import library
from ava_jax.tasks.base import RestoredRun


class Callable(Tiny):
    def library(self, compile_model, assets, folder, step):
        return compile_model(lambda model, x: model.offset[...] + x), assets, folder, step


def test_load_gives_what_the_task_makes_of_the_run(monkeypatch, tmp_path):
    task = Callable()
    monkeypatch.setattr(library.checkpoint, "restore_model", lambda *args: RestoredRun(task.config, ASSETS, task, Offset(), 7))
    add, *rest = library.load(tmp_path)
    assert float(add(2.0)) == 12.0 and rest == [ASSETS, tmp_path, 7]


def test_a_task_with_nothing_to_be_called_is_one_plain_line(monkeypatch, tmp_path):
    task = Tiny()
    task.config.task = "tiny_task:Tiny"
    monkeypatch.setattr(library.checkpoint, "restore_model", lambda *args: RestoredRun(task.config, ASSETS, task, Offset(), 7))
    with pytest.raises(ValueError, match="load: tiny_task:Tiny, the task of the run in .*, has nothing to be called from Python.") as error:
        library.load(tmp_path)
    assert len(str(error.value).splitlines()) == 1
