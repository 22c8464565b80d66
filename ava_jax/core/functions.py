"""Functions that a user names on the command line."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from ava_jax.core.names import near


def load(flag: str, name: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules of the current folder are found too.

    Args:
      flag: for messages, as in "--keypoints".
      name: as it was typed.

    Raises:
      ValueError: it has no colon, or there is no such module or function.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"{flag} must be module:function, as in {flag}=my_networks:{flag.strip('-')}; got {name!r}.")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last: nothing of the folder hides an installed module
    try:
        loaded = importlib.import_module(module)
    except ImportError as e:
        raise ValueError(f"{flag}={name}: the module {module!r} cannot be imported here ({e}).") from e
    found = getattr(loaded, attribute, None)
    if not callable(found):
        have = [one for one in vars(loaded) if callable(getattr(loaded, one)) and not one.startswith("_")]
        nearest = f"; it has {', '.join(near(attribute, have))}" if have else ""
        raise ValueError(f"{flag}={name}: {module} has no function {attribute!r}{nearest}.")
    return found
