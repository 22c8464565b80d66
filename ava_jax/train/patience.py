"""When a run ends before its last step: `train.patience` validations in a row without a better one."""

from collections.abc import Mapping


class Patience:
    """The best score so far, and how many validations came after it."""

    def __init__(self, most: int, scores: Mapping[int, float], latest: int, every: int):
        """Of a run that begins, or goes on.

        Args:
          most: `train.patience`; 0: the run does not end before its last step.
          scores: of the checkpoints, by step, the higher the better.
          latest: the step that it goes on after; 0 of a new run.
          every: steps between validations.
        """
        self.most = most
        best = max(scores, key=scores.get, default=None)
        self.best = None if best is None else scores[best]
        self.since = 0 if best is None or not every else (latest - best) // every

    def add(self, score: float | None) -> None:
        """Takes in a validation's score; None is of one that could not be scored."""
        better = score is not None and (self.best is None or score > self.best)
        self.best, self.since = (score, 0) if better else (self.best, self.since + 1)

    @property
    def over(self) -> bool:
        """Whether the run ends."""
        return bool(self.most) and self.since >= self.most

    def __str__(self) -> str:
        return f"none of the last {self.since} validations was the best"
