"""Lists as users write them, on command lines and in config files: `a,b`, `("a", "b")`, `["a", "b"]`, one word, one number."""

import ast
import numbers
from collections.abc import Iterable
from typing import Any

_PAIRS = {"(": ")", "[": "]", "{": "}"}


def parse(text: str) -> tuple[str, ...]:
    """The elements of a written list, as text; () of an empty one.

    Commas inside of brackets or quotes do not part: a regular expression may have `{1,2}`.

    Raises:
      ValueError: a quote is not closed.
    """
    text = text.strip()
    if text[:1] in ("(", "[") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    return tuple(_unquoted(part) for part in _parts(text) if part)


def read(what: str, value: Any, kind: type = str) -> tuple[Any, ...]:
    """A list's value, however it was written.

    Args:
      what: is named, for the message, as in "config.data.cameras".
      value: a tuple or list, a single element, or text as `parse` takes it; None is ().
      kind: of its elements: str, which numbers are made to, or int.

    Raises:
      ValueError: an element is not of that kind.
    """
    if isinstance(value, str):
        try:
            value = parse(value)
        except ValueError as e:
            raise ValueError(f"{what}={value}: {e}.") from e
    elements = () if value is None else value if isinstance(value, Iterable) else (value,)
    return tuple(_element(what, element, kind) for element in elements)


def _element(what: str, element: Any, kind: type) -> Any:
    whole = isinstance(element, numbers.Integral) and not isinstance(element, bool)
    if whole or isinstance(element, str):
        try:
            return kind(element)
        except ValueError:
            pass
    of = "names" if kind is str else "whole numbers"
    raise ValueError(f"{what} must be a list of {of}, as in {'a,b' if kind is str else '3,5'}; got {element!r} in it.")


def _parts(text: str) -> list[str]:
    """Cut at the commas that are in no bracket and no quote."""
    parts, start = [], 0
    for at, depth in _depths(text):
        if text[at] == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _closing(text: str) -> int:
    """Where the bracket closes that the text begins with; -1 where it does not."""
    return next((at for at, depth in _depths(text) if at and not depth), -1)


def _depths(text: str) -> list[tuple[int, int]]:
    """Of each character that counts, neither quoted nor escaped: its index, and how many brackets are open after it."""
    found, open_, quote, escaped = [], [], "", False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and text[:at].rstrip()[-1:] in ("", ",", "(", "["):
            quote = character  # one inside of a word is an apostrophe
        else:
            if character in _PAIRS:
                open_.append(_PAIRS[character])
            elif open_ and character == open_[-1]:
                open_.pop()
            found.append((at, len(open_)))
    if quote:
        raise ValueError(f"a quote {quote} is not closed")
    return found


def _unquoted(part: str) -> str:
    if part[0] not in "'\"":
        return part
    try:
        return str(ast.literal_eval(part))
    except (ValueError, SyntaxError) as e:
        raise ValueError(f"{part} is neither a word nor a quoted one") from e
