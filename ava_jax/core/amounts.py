"""Amounts in words."""


def size(count: float) -> str:
    """'562 MB', of bytes."""
    unit, by = next((u, n) for u, n in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1)) if count >= n or n == 1)
    return f"{count / by:.3g} {unit}"
