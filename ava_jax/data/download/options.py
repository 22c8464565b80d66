"""Flags of commands that download: where to, how many at a time, how careful."""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import flags

from ava_jax.data.download import manifest, report
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download, Problem

flags.disclaim_key_flags()  # flags are of the command that defines them, which lists them in its --help


class DownloadFlags(NamedTuple):
    """The flags of one command."""

    out: flags.FlagHolder
    jobs: flags.FlagHolder
    dry_run: flags.FlagHolder
    allow_missing: flags.FlagHolder
    verify: flags.FlagHolder
    recheck_hours: flags.FlagHolder
    base_url: flags.FlagHolder

    def folder(self) -> pathlib.Path:
        """The folder to fetch into.

        Raises:
          ValueError: none is named, or it is a file.
        """
        if not self.out.value:
            raise ValueError("--out=FOLDER must say where to write.")
        out = pathlib.Path(self.out.value).expanduser()
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out={self.out.value}: is a file; it must be a folder, new or one that was downloaded into before.")
        return out

    def run(self, out: pathlib.Path, fetch: Callable[[Download], Sequence[Problem]]) -> None:
        """Fetches, alone in the folder unless nothing is written; `fetch` gives what was not to be had.

        Raises:
          ValueError: another download is at it; there were problems, and not all are files that may be missing.
        """
        if self.dry_run.value:
            self._run(out, fetch)
            return
        with manifest.locked(out):
            self._run(out, fetch)

    def _run(self, out: pathlib.Path, fetch: Callable[[Download], Sequence[Problem]]) -> None:
        fresh = self.recheck_hours.value * 3600
        download = Download(out, Client(), jobs=self.jobs.value, verify=self.verify.value, fresh=fresh, dry=self.dry_run.value)
        report.require_none(fetch(download), allow_missing=self.allow_missing.value)


def define(base: str, *, jobs: int, what: str) -> DownloadFlags:
    """The flags `--out`, `--jobs`, `--dry_run`, `--allow_missing`, `--verify`, `--recheck_hours`, `--base_url`.

    Args:
      base: address of the data set.
      jobs: by default.
      what: is fetched at a time, in the help of --jobs.
    """
    return DownloadFlags(
        flags.DEFINE_string("out", None, "Folder to fetch into; what is there is kept where it is sound.", short_name="o"),
        flags.DEFINE_integer("jobs", jobs, f"{what} at a time.", lower_bound=1, upper_bound=64, short_name="j"),
        flags.DEFINE_bool("dry_run", False, "Say how many files and bytes it would be, and write nothing."),
        flags.DEFINE_bool("allow_missing", False, "Exit 0 though the server lacks files; they are listed all the same."),
        flags.DEFINE_bool("verify", False, "Read every file that is there, and hold it against its checksum."),
        flags.DEFINE_float(
            "recheck_hours", 24.0, "Ask the server whether a file has changed, after so many hours; 0 asks at once.", lower_bound=0
        ),
        flags.DEFINE_string("base_url", base, "Address of the data set, or of a mirror with the same folders."),
    )
