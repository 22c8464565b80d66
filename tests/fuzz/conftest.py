"""How many examples the fuzzers try: few and the same ones, unless AVA_FUZZ says "long"."""

import os
import pathlib

import hypothesis
import pytest
import readers

hypothesis.settings.load_profile(os.environ.get("AVA_FUZZ", "quick"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """For files that a reader is given."""
    return tmp_path_factory.mktemp("fuzz")


def pytest_terminal_summary(terminalreporter) -> None:
    """Says how many examples each reader was given, where there were many."""
    if os.environ.get("AVA_FUZZ"):
        for reader, count in sorted(readers.counted.items()):
            terminalreporter.write_line(f"fuzzed {reader}: {count} examples")
