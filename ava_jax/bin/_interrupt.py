"""Whether Ctrl-C is behind an error. Imports nothing: it is asked while everything else is still being imported."""


def was_interrupted(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt led to `error`.

    Python raises it wherever the interpreter is. Within a call that C makes, of `__hash__` say, C's own SystemError takes its place and
    names it as the cause; an error that comes up while the interrupt unwinds names it as the context.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False
