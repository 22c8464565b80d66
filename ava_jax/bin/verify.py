"""Says whether captures are whole and what is wrong with those that are not: ava-256's (dome and headset) and multiface's.

  ava verify CAPTURES
  ava verify CAPTURES/20230324--0820--AEY864 --images=all --json=report.json
  ava verify CAPTURES --images=none               # structure alone: a minute for 50 captures of 80 cameras
  ava verify CAPTURES --repair                    # broken files are fetched again, where ava ava256 download fetched them

A PATH is a capture or a folder of captures. Exits 1 when something is broken. Doubts are worth a look; notes, such as some frames that
are listed and missing, are normal of published captures.
"""

import json
import pathlib
import sys

from absl import flags

POSITIONAL = "data"  # words that are no flags are values of this one

_DATA = flags.DEFINE_multi_string("data", None, "A capture or a folder of captures; may be given several times, or as plain words.")
_IMAGES = flags.DEFINE_enum(
    "images",
    "sample",
    ["none", "sample", "all"],
    "Contents to decode: of every zip some, evenly spaced, and all head poses; everything; or nothing, which leaves the structure.",
)
_SAMPLES = flags.DEFINE_integer("samples", 3, "Pictures of each camera that are decoded with --images=sample.", lower_bound=1)
_CRC = flags.DEFINE_bool("crc", False, "Read every member of every zip and hold it against its checksum.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "OBJ of the meshes; by default face_topology.obj beside each capture.")
_JSON = flags.DEFINE_string("json", None, "Write the report to this file too.")
_REPAIR = flags.DEFINE_bool("repair", False, "Fetch broken files again, and verify those again.")
_JOBS = flags.DEFINE_integer("jobs", None, "Threads that read; by default as many as there are cores.", lower_bound=1)


def main() -> None:
    """Verifies, prints, writes, as the flags say."""
    from ava_jax.captures.verify import report, tree
    from ava_jax.captures.verify.contents import Depth
    from ava_jax.data import files
    from ava_jax.data.workers import cores

    if not _DATA.value:
        raise ValueError("name a capture or a folder of captures, as in ava verify CAPTURES.")
    if _JSON.value and not pathlib.Path(_JSON.value).expanduser().absolute().parent.is_dir():
        raise ValueError(f"--json={_JSON.value}: there is no such folder; name a file in one that is there.")
    depth = Depth(_IMAGES.value, _SAMPLES.value, _CRC.value)
    how = {"topology": pathlib.Path(_TOPOLOGY.value).expanduser() if _TOPOLOGY.value else None, "threads": _JOBS.value or cores()}
    books = tree.verify(tree.find([pathlib.Path(path).expanduser() for path in _DATA.value]), depth, **how)
    if _REPAIR.value:
        books = tree.repair(books, depth, **how)
    print(report.text(books))
    if _JSON.value:
        options = {**depth._asdict(), "repair": _REPAIR.value}
        files.replace(pathlib.Path(_JSON.value).expanduser(), json.dumps(report.to_json(books, options), indent=1) + "\n")
        print(f"wrote {_JSON.value}")
    sys.exit(1 if any(book.state == "broken" for book in books) else 0)
