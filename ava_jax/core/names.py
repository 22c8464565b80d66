"""Names that a user gives, and the nearest of those that there are."""

import difflib
from collections.abc import Iterable

_NEAR = 0.4  # difflib's ratio from which a name may be meant, where several are offered


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error's message: " Did you mean ...?" of the known name nearest to one that is not known; "" where none is near.

    Names may be dotted, as a config's keys are: one whose last part is the same is right but for its first parts, and comes first.
    """
    known = list(known)
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    if "." in name or not same:
        same = difflib.get_close_matches(name, same, n=1, cutoff=0.0) or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {' or '.join(same)}?" if same else ""


def near(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names, the nearest first; the first ones in order where none is near."""
    known = sorted(set(known))
    return difflib.get_close_matches(name, known, n=count, cutoff=_NEAR) or known[:count]


def pick(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is one of `known`.

    Args:
      what: is named, for the message, as in "--camera".

    Raises:
      ValueError: it is not; the message gives the nearest ones.
    """
    known = list(known)
    if name in known:
        return name
    raise ValueError(f"{what}={name}: there is none of that name; of {len(known)}, the nearest are {', '.join(near(name, known))}.")


def require(what: str, listed: Iterable[str], known: Iterable[str], of: str) -> None:
    """Checks names that a user lists.

    Args:
      what: is named, for the message, as in "config.data.cameras".
      of: who has the names, as in "capture".

    Raises:
      ValueError: some are not known; the message gives the nearest ones that are.
    """
    known = set(known)
    if missing := [name for name in listed if name not in known]:
        close = list(dict.fromkeys(one for name in missing for one in near(name, known, 3 if len(missing) == 1 else 1)))
        raise ValueError(f"{what}: no {of} has {', '.join(missing)}; of {len(known)}, the nearest are {', '.join(close)}.")
