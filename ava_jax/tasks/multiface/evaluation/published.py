"""The published test losses per person, which evaluations print beside ours.

They are of models trained without the screen loss and *adapted*: encoder and colour correction learn on the test data for 8 passes, and the
last pass is reported. `ava multiface adapt` does the same; without it our scores are of data that the model never saw.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

ADAPTED = "adapted"
PASSES = 8  # of the published protocol over the test data
TRAINABLE = ("encoder/", "colour/")  # what learns in them


class Losses(NamedTuple):
    """Of arch `base`: `tex_255`, in units of 0-255, and `vert`, normalised."""

    tex_255: float
    vert: float


PUBLISHED = {
    "002645310": Losses(18.735, 0.0418),
    "002643814": Losses(20.848, 0.0386),
    "7889059": Losses(17.680, 0.0246),
    "5372021": Losses(22.706, 0.0587),
    "2183941": Losses(18.013, 0.0264),
    "8870559": Losses(19.612, 0.0223),
    "6674443": Losses(11.544, 0.0182),
    "5067077": Losses(18.405, 0.0171),
    "002914589": Losses(15.898, 0.0301),
}
# Of the mini data set, which has the screen loss: normalised, train and test.
MINI = {"train": {"screen": 0.268333, "vert": 0.769636, "tex": 0.654152}, "test": {"screen": 0.154118, "vert": 0.758897, "tex": 0.379572}}
MINI_PERSON, MINI_SEGMENT = "6795937", "E061"


def lines(config: ConfigDict, identity: str) -> list[str]:
    """What is published of a person, a line each; [] where nothing is."""
    found = []
    if losses := PUBLISHED.get(identity):
        found.append(f"published for {identity} (base, adapted on the test data): tex_255 {losses.tex_255:.3f}, vert {losses.vert:.4f}")
    if identity == MINI_PERSON and any(one.startswith(MINI_SEGMENT) for one in config.data.held_out.segments):
        named = ", ".join(f"{name} {value:.4f}" for name, value in MINI["test"].items())
        found.append(f"published for the mini data set (validation that learns colour correction): {named}")
    return found


def is_adapted(config: ConfigDict) -> bool:
    """Whether the run's training saw what is tested."""
    return config.train.split != "train"


def how(config: ConfigDict) -> str:
    """Whether the scores are of data that the model never saw, in a line."""
    if is_adapted(config):
        learnt = ", ".join(part.strip("/") for part in config.train.trainable) or "the whole model"
        return f"ADAPTED: {learnt} learnt on {config.train.split}, which is what is scored there; not a test on unseen data"
    return "honest: nothing of what is scored was learnt from (the published protocol adapts to it: ava multiface adapt)"


def make_adapted(config: ConfigDict, split: str, views: int, run: str, *, passes: int = PASSES) -> None:
    """Turns a run's config, in place, into that of the published test protocol.

    Args:
      config: the run's.
      split: that is learned from.
      views: its samples.
      run: whose weights it starts with, as `config.train.init_from` takes it.
      passes: over the split.
    """
    steps = passes * max(views // min(config.train.batch_size, views), 1)
    config.train.update({"split": split, "init_from": run, "epochs": 0, "steps": steps, "validate_every": 0, "picture_every": 0})
    config.train.update({"batch_size": min(config.train.batch_size, views), "checkpoint_every": steps})
    config.data.shuffle.cameras_per_visit = 1  # each view once a pass, without visits that reach into the next
    config.optimizer.update({"lr_warmup_steps": 0, "lr_decay_steps": 0, "epoch_decay": 1.0})
    with config.ignore_type():
        config.train.init_filter, config.train.trainable = (), TRAINABLE
