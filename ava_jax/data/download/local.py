"""Files that are in the target folder: whether they are still what was fetched, and whether they are what the server has."""

import dataclasses
import pathlib
import time

from ava_jax.data.download import paths, verify, whole
from ava_jax.data.download.client import Facts
from ava_jax.data.download.items import Item
from ava_jax.data.download.manifest import Entry, Manifest


class Local:
    """Judges files of a folder."""

    def __init__(self, folder: pathlib.Path, manifest: Manifest, *, verify: bool, dry: bool) -> None:
        """`verify` reads every file; otherwise those alone whose time of change is another. `dry` notes nothing."""
        self._folder, self._manifest, self._verify, self._dry = folder, manifest, verify, dry

    def is_intact(self, path: str, entry: Entry) -> bool:
        """Whether a file is what was fetched: by size and time of change, or else by its CRC32."""
        if entry.size is None:
            return True  # the zip has none of the selected members
        try:
            stat = (self._folder / path).stat()
            if stat.st_size != entry.size:
                return False
            if stat.st_mtime_ns == entry.mtime and not self._verify:
                return True
            intact = whole.sums(self._folder / path).crc == entry.crc
        except OSError:  # it is not there, or cannot be read: it is fetched, which tells
            return False
        if intact and stat.st_mtime_ns != entry.mtime and not self._dry:
            self._manifest.put(path, dataclasses.replace(entry, mtime=stat.st_mtime_ns))
        return intact

    def adopt(self, item: Item, facts: Facts) -> Entry | None:
        """The entry of a whole file that is there without one, as another program left it, if it is what the server has.

        Size alone does not tell: it must have the MD5 that is known, or be a zip whose members have their CRC32s. A dry run believes it.
        """
        path = self._folder / item.path
        if not path.is_file() or facts.size is None or path.stat().st_size != facts.size:
            return None
        md5 = item.md5 or facts.md5
        stat = path.stat()
        if self._dry:
            crc = 0
        else:
            found = whole.sums(path, md5=bool(md5))
            crc = found.crc
            if md5 and found.md5 != md5.lower():
                return None
            if not md5 and (not verify.is_zip(path) or verify.zip_fault(path)):
                return None
            for part in paths.parts(path):  # of a run that was killed between renaming and noting
                part.unlink(missing_ok=True)
        return Entry(
            item.url, facts.size, crc, stat.st_mtime_ns, time.time(), facts.etag, facts.modified, facts.size, item.md5, None, None
        )  # fmt: skip
