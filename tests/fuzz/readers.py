"""What every reader must keep to: a value that is right, or one line that names the file; never another exception, never a hang."""

import io
import pathlib
import time

import hypothesis
import numpy as np
from hypothesis import strategies as st

# Quick and the same each time in the usual test run; `scripts/fuzz.sh MINUTES` raises the count and draws anew.
hypothesis.settings.register_profile(
    "quick", max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.register_profile(
    "long", max_examples=1000, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), print_blob=True
)

SECONDS = 10.0  # that any reader may take


def refused(error: Exception, name: str) -> None:
    """Holds a refusal to be one line of an expected kind that names the file."""
    assert isinstance(error, ValueError | OSError), f"{type(error).__name__}: {error}"
    text = str(error)
    assert "\n" not in text and len(text) < 3000, text
    assert name in text, text


@st.composite
def mutated(draw, samples: list[bytes]) -> bytes:
    """Sound files with bytes changed, cut out, doubled or put in: what damage and strange tools make."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        count = draw(st.integers(0, min(40, len(data) - at)))
        kind = draw(st.sampled_from(("change", "number", "cut", "double", "put", "end")))
        if kind == "change" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "number":
            bits = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**40, 2**63, 2**64 - 1)))
            data[at : at + bits] = (value % 256**bits).to_bytes(bits, draw(st.sampled_from(("little", "big"))))
        elif kind == "cut":
            del data[at : at + count]
        elif kind == "double":
            data[at:at] = data[at : at + count] * draw(st.integers(1, 5))
        elif kind == "put":
            data[at:at] = draw(st.binary(max_size=20))
        else:
            del data[at:]
    return bytes(data)


WORDS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-5, 12).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "nan", "inf", "-inf", "1e999", "1e39", "1_0", "٣", "0x10", "-", "1.", "9" * 5000, "1,5"]),
    st.sampled_from(["\\", "#", '"', "\ufeff", "\0", "ü"]),
    st.text(max_size=6),
)  # fmt: skip


def texts(starts: list[str]) -> st.SearchStrategy[bytes]:
    """Lines of words, as of a text format whose lines begin with `starts`; some in strange encodings."""
    line = st.builds(lambda start, words, gap: gap.join([start, *words]), st.sampled_from(starts), st.lists(WORDS, max_size=8),
                     st.sampled_from([" ", ", ", "\t", ";", "  ", ","]))  # fmt: skip
    end = st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"])
    encoding = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    return st.builds(lambda lines, end, code: end.join(lines).encode(code, "replace"), st.lists(line, max_size=30), end, encoding)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=8), inner, max_size=5)),
    max_leaves=30,
)

counted: dict[str, int] = {}  # reader -> examples


def outcome(reader: str, call, name: str):
    """What `call` returns; None where it refuses, in a line that has `name`. Counts the example and times it."""
    counted[reader] = counted.get(reader, 0) + 1
    began = time.process_time()
    try:
        return call()
    except Exception as e:
        refused(e, name)
        return None
    finally:
        assert time.process_time() - began < SECONDS


def written(folder: pathlib.Path, name: str, data: bytes) -> pathlib.Path:
    """A file of these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def named(read):
    """Of readers that get bytes, whose caller names the file: any name is as good."""

    def call(data):
        try:
            return read(data)
        except ValueError as e:
            raise ValueError(f"x: {e}") from e

    return call


def npy(array: np.ndarray) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
