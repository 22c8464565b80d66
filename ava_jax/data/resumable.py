"""Iterators whose position can be kept and gone back to."""

from collections.abc import Mapping
from typing import Any

NEXT = "next_index"  # Grain's name for the position in the order, which stays the same whatever reads


class Resumable:
    """An iterator's position as a dict that JSON can carry.

    It is good for any number of threads and any batch size, but only for the same samples, seed, order and processes.
    """

    def __init__(self, identity: dict[str, int | str]) -> None:
        self._identity = identity

    def get_state(self) -> dict[str, Any]:
        """Where it is, for `set_state`; JSON can carry it."""
        return {**self._identity, "position": self._position()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes to the position that `get_state` returned.

        Raises:
          ValueError: the state is of another order of samples, where it would mean something else.
        """
        for name, mine in self._identity.items():
            if state.get(name) != mine:
                saved = state.get(name, "of an earlier version")
                raise ValueError(
                    f"pipeline: resuming needs the {name} of the saved run, {saved}; got {mine}. "
                    "Its position in the data means nothing here: start anew in another --workdir, or go on with what it was started with."
                )
        self._go_to(state["position"])

    def _position(self) -> dict[str, int]:
        raise NotImplementedError

    def _go_to(self, position: Mapping[str, int]) -> None:
        raise NotImplementedError
