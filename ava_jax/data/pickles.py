"""Reads what a pickle says without doing what it asks for.

A pickle is a program: it names functions and calls them. Here nothing is imported and nothing called. Names stay names (`Global`), and what
a call or a class would have made is a `Node` that says so. Python's own unpickler cannot be tamed to this: before any of its hooks it
makes room for memo entries by the number that a pickle claims, and hashes keys as deeply as they are nested.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple


class Global(NamedTuple):
    """A function or class, by name."""

    module: str
    name: str


class Node:
    """A dict, list, set, or an object that a call would have made.

    Attributes:
      function: what would be called, any value; None for dicts, lists and sets.
      args: what with.
      pairs: keys and values that were set, in order, as in a dict.
      elements: what was appended or added.
      state: what the object's own state was set to, or None.
    """

    __slots__ = ("function", "args", "pairs", "elements", "state")

    def __init__(self, function: Any = None, args: tuple = ()):
        self.function, self.args = function, args
        self.pairs: list[tuple[Any, Any]] = []
        self.elements: list[Any] = []
        self.state: Any = None

    def named(self) -> dict[str, Any]:
        """Its values by key, of those keys that are strings."""
        return {key: value for key, value in self.pairs if isinstance(key, str)}


_MOST_OPCODES = 1_000_000  # a module of 20 layers has 2,000
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TEXT = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_VALUES = _TEXT | _NUMBERS | _BYTES
_IGNORED = {"PROTO", "FRAME"}


def load(file: io.BytesIO, persistent: Callable[[Any], Any], call: Callable[[Any, tuple], Any]) -> Any:
    """What the pickle that begins here holds; the file is left at the first byte after it.

    Memory grows with what the file holds, never with what it claims.

    Args:
      file: in memory: reads of claimed sizes are cut at its end.
      persistent: what a persistent id stands for.
      call: what a call of a function (`Global`, as a rule) with arguments gives; a `Node` of both where nothing is known of it.

    Raises:
      ValueError: it is no pickle, or ends early, or has a part that none of these readers needs.
    """
    machine = _Machine(persistent, call)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > _MOST_OPCODES:
                raise _Refused(f"a pickle of over {_MOST_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, argument)
    except _Refused:
        raise
    # What pickletools and an empty stack raise on nonsense: there is one thing to say of it.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as e:
        raise ValueError(f"no pickle, or a damaged one ({str(e)[:100]})") from e
    raise ValueError("no pickle, or a damaged one (it has no end)")


class _Refused(ValueError):
    pass


class _Machine:
    def __init__(self, persistent: Callable[[Any], Any], call: Callable[[Any, tuple], Any]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.persistent, self.call = persistent, call

    def pop(self) -> Any:
        top = self.stack.pop()
        if top is _MARK:
            raise ValueError("a mark where a value belongs")
        return top

    def pop_marked(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                above = self.stack[i + 1 :]
                del self.stack[i:]
                return above
        raise ValueError("a mark is missing")

    def run(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name == "MARK":
            self.stack.append(_MARK)
        else:
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise _Refused(f"a pickle with the opcode {name}, which PyTorch's files do not use")
            method(argument)

    def node(self) -> Node:
        """The container or object on top, which is changed next."""
        top = self.stack[-1]
        # A call that `call` knew gives a value of its own, which no more is set on.
        return top if isinstance(top, Node) else Node(top)

    # Opcodes, by their names in pickletools; those that are values or marks are above.

    def _pop(self, _):
        self.stack.pop()

    def _pop_mark(self, _):
        self.pop_marked()

    def _dup(self, _):
        self.stack.append(self.stack[-1])

    def _put(self, argument):
        self.memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument):
        self.stack.append(self.memo[argument])

    _binget = _long_binget = _get

    def _empty_tuple(self, _):
        self.stack.append(())

    def _tuple(self, _):
        self.stack.append(tuple(self.pop_marked()))

    def _last(self, count):
        self.stack.append(tuple(reversed([self.pop() for _ in range(count)])))

    def _tuple1(self, _):
        self._last(1)

    def _tuple2(self, _):
        self._last(2)

    def _tuple3(self, _):
        self._last(3)

    def _empty_dict(self, _):
        self.stack.append(Node())

    _empty_list = _empty_set = _empty_dict

    def _list(self, _):
        found = Node()
        found.elements = self.pop_marked()
        self.stack.append(found)

    _frozenset = _list

    def _dict(self, _):
        values = self.pop_marked()
        self.stack.append(Node())
        self._set(values)

    def _append(self, _):
        value = self.pop()
        self.node().elements.append(value)

    def _appends(self, _):
        values = self.pop_marked()
        self.node().elements.extend(values)

    _additems = _appends

    def _setitem(self, _):
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _setitems(self, _):
        self._set(self.pop_marked())

    def _set(self, values):
        if len(values) % 2:
            raise ValueError("a key without a value")
        self.node().pairs.extend(zip(values[::2], values[1::2]))

    def _global(self, argument):
        self.stack.append(Global(*argument.split(" ", 1)))

    def _stack_global(self, _):
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a name that is no text")
        self.stack.append(Global(module, name))

    def _reduce(self, _):
        args, function = self.pop(), self.pop()
        self._called(function, args)

    _newobj = _reduce

    def _newobj_ex(self, _):
        keywords, args, cls = self.pop(), self.pop(), self.pop()
        self._called(cls, args)
        self.node().pairs.append(("**", keywords))

    def _obj(self, _):
        cls, *args = self.pop_marked()
        self._called(cls, tuple(args))

    def _inst(self, argument):
        self._called(Global(*argument.split(" ", 1)), tuple(self.pop_marked()))

    def _called(self, function, args):
        if not isinstance(args, tuple):
            raise ValueError("a call whose arguments are no tuple")
        self.stack.append(self.call(function, args))

    def _build(self, _):
        state = self.pop()
        self.node().state = state

    def _binpersid(self, _):
        self.stack.append(self.persistent(self.pop()))
