"""A toy task whose samples are somebody's, and can be drawn, for tests of comparisons."""

import numpy as np
from toy_task import Toy


class Comparable(Toy):
    group_by = ("who",)
    cluster_by = ("who",)
    sample_name = "image"

    def describe(self, batch, assets):
        return [{"who": f"person {index % 3}", "index": int(index)} for index in batch["index"]]

    def draw_sample(self, prediction, sample, assets):
        error = np.linalg.norm(prediction - sample["y"])
        levels = {"truth": int(sample["index"]), "prediction": 100, "error": int(np.clip(error, 0, 255))}
        return {name: np.full((20, 15, 3), level, np.uint8) for name, level in levels.items()}


class Other(Comparable):
    """Another task."""
