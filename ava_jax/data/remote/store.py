"""Files below a URL: asked for again while there is no answer, kept on the local disk in blocks, read ahead where that pays.

What a file is (size, state) is asked once in a run, and handed on to the processes that read. It is part of the name under which blocks are
kept, so that a file that has changed is fetched anew by the next run.

Ahead of what is asked for, the rest of the stretch of `blocks.GROUP` bytes is read where everything that was looked up fits the cache,
since all of it will be needed, and in files that are read in order. Else a random member would be fetched with 20 others, that are gone
from the cache before their turn comes.
"""

import collections
import hashlib
import pathlib
import random
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from absl import logging

from ava_jax.data.remote import objects, web
from ava_jax.data.remote.blocks import BLOCK, GROUP, PER_GROUP, BlockCache
from ava_jax.data.remote.server import Info, Refused, Server

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0  # seconds between two attempts
_UNKNOWN = 10.0  # seconds in which a server must answer that never has: its name may be wrong
_SAID = 30.0  # seconds between two warnings
_FOLLOWED = 256  # files in which an order of reading is looked for


class Store:
    """Reads files by key, `a/b.zip` below a URL. Safe from several threads; a copy for another process has its own connections."""

    def __init__(self, url: str, *, cache: pathlib.Path | None, cache_bytes: int, retry_seconds: float) -> None:
        """Asks nothing yet.

        Args:
          url: of the folder.
          cache: folder for blocks; None keeps none.
          cache_bytes: of blocks on the disk; 0 keeps none.
          retry_seconds: for which a request is made again and again, of a server that has answered before.

        Raises:
          ValueError: nothing installed reads such a URL.
        """
        scheme = urllib.parse.urlsplit(url).scheme
        self.url = url.partition("?")[0].rstrip("/")  # what follows may be a secret
        self._server: Server = web.WebServer(url) if scheme in ("http", "https") else objects.Objects(url)
        self._blocks = BlockCache(cache, cache_bytes) if cache is not None and cache_bytes > 0 else None
        self._retry_seconds = retry_seconds
        self._facts: dict[str, Info | None] = {}
        self._known_bytes = 0  # of all files that were looked up
        self._answered = False
        self.directory_bytes = 0  # of the zip whose directory was read last: the next one is likely as long
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._ends: collections.OrderedDict[str, int] = collections.OrderedDict()  # of the last read in a file
        self._said = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_ends", "_said")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def info(self, key: str) -> Info:
        """Size and state of a file, asked once.

        Raises:
          FileNotFoundError: it is not there.
          ValueError: the server refuses.
          OSError: it does not answer.
        """
        with self._lock:
            known = self._facts.get(key, False)
        if known is False:
            try:
                known = self._ask(key, lambda: self._server.info(key))
            except FileNotFoundError:
                known = None
            with self._lock:
                self._known_bytes += known.size if known and key not in self._facts else 0
                self._facts[key] = known
        if known is None:
            raise FileNotFoundError(f"{self.url}/{key}: not there")
        return known

    def names(self, key: str) -> list[str] | None:
        """Names of what is in a folder; None where the server does not list it. Raises as `info`."""
        return self._ask(key, lambda: self._server.names(key))

    def fetch(self, key: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`, past the cache. Raises as `info`."""
        return self._ask(key, lambda: self._server.read(key, start, stop))

    def read(self, key: str, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, from the cache or into it; fewer where the file ends. Raises as `info`."""
        info = self.info(key)
        stop = min(offset + count, info.size)
        if offset >= stop:
            return b""
        if self._blocks is None:
            return self.fetch(key, offset, stop)
        name, first, last = self._name(key, info), offset // BLOCK, (stop - 1) // BLOCK
        there = self._kept(name, first, last)
        missing = [i for i in range(first, last + 1) if i not in there]
        ahead = self._reads_on(key, first, last) or self._known_bytes <= self._blocks.limit * 0.9
        if missing:
            low, high = missing[0], missing[-1] + 1
            if ahead:
                low, high = low // PER_GROUP * PER_GROUP, -(-high // PER_GROUP) * PER_GROUP
            data = self.fetch(key, low * BLOCK, min(high * BLOCK, info.size))
            got = {low + i: data[i * BLOCK : (i + 1) * BLOCK] for i in range(-(-len(data) // BLOCK))}
            self._keep(name, got)
            there |= got
        joined = b"".join(there[i] for i in range(first, last + 1)) if last > first else there[first]
        return joined[offset - first * BLOCK : stop - first * BLOCK]

    def forget(self, key: str, offset: int, count: int) -> None:
        """Drops what is kept of some bytes: it was damaged on its way."""
        info = self._facts.get(key)
        if self._blocks is not None and info:
            for group in range(offset // GROUP, (offset + max(count, 1) - 1) // GROUP + 1):
                self._blocks.drop(self._name(key, info), group)

    def _name(self, key: str, info: Info) -> str:
        """What the blocks of a file in its present state are kept under."""
        return hashlib.blake2b(f"{self.url}/{key}\n{info.size}\n{info.state}".encode(), digest_size=16).hexdigest()

    def _kept(self, name: str, first: int, last: int) -> dict[int, bytes]:
        """Those of the blocks `first` to `last` of a file that are kept, by number."""
        found: dict[int, bytes] = {}
        for group in range(first // PER_GROUP, last // PER_GROUP + 1):
            begin = group * PER_GROUP
            part = self._blocks.get(name, group, range(max(first - begin, 0), min(last - begin, PER_GROUP - 1) + 1))
            found |= {begin + i: data for i, data in part.items()}
        return found

    def _keep(self, name: str, blocks: dict[int, bytes]) -> None:
        groups: dict[int, dict[int, bytes]] = {}
        for i, data in blocks.items():
            groups.setdefault(i // PER_GROUP, {})[i % PER_GROUP] = data
        for group, part in groups.items():
            self._blocks.put(name, group, part)

    def _reads_on(self, key: str, first: int, last: int) -> bool:
        """Whether a file is read where the last read of it ended."""
        with self._lock:
            end = self._ends.pop(key, None)
            self._ends[key] = last
            if len(self._ends) > _FOLLOWED:
                self._ends.popitem(last=False)
        return end is not None and end <= first <= end + 1

    def _ask(self, key: str, request: Callable[[], Any]) -> Any:
        """What a request gives, made again while it fails in a way that may pass."""
        begin, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                result = request()
                self._answered = True
                return result
            except FileNotFoundError:
                self._answered = True
                raise
            except Refused as e:
                raise Refused(f"{self.url}/{key}: {e}.") from e
            except OSError as e:
                patience = self._retry_seconds if self._answered else min(self._retry_seconds, _UNKNOWN)
                gone = not threading.main_thread().is_alive()  # nobody waits for it any more
                if gone or time.monotonic() + wait - begin > patience:
                    raise OSError(f"{self.url}/{key}: no answer in {time.monotonic() - begin:.0f} s ({e})") from e
                self._say(key, e)
                time.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, _LONGEST_WAIT)

    def _say(self, key: str, error: OSError) -> None:
        with self._lock:
            if time.monotonic() - self._said < _SAID and self._said:
                return
            self._said = time.monotonic()
        logging.warning("%s/%s: %s; asking again, for %.0f s at most", self.url, key, error, self._retry_seconds)
