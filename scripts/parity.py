"""Compares every stage with vectors of the published implementation, on the platform at hand.

  python scripts/parity.py --golden=DIR

DIR holds `ava256_modules.npz`, `ava256_uv.npz`, `ava256_state_dict.json`, `multiface_*`, `raymarch_*.npz`, `raster_*.npz` and
`silhouette.npz`; the assets folder `021924.bin`, `021924_avgtex.png` and `face_topology.obj`. Prints a line an array (name, largest error,
scale, verdict); exits 1 when one is off.
"""

import itertools
import pathlib
import sys

import jax
import parity_modules
import parity_multiface
import parity_rasterize
import parity_raymarch
from absl import app, flags

_GOLDEN = flags.DEFINE_string("golden", None, "folder of golden vectors", required=True)
_ASSETS = flags.DEFINE_string("assets", None, "folder of the head's mesh, texture and topology; default: <golden>/../assets")


def main(_) -> None:
    golden = pathlib.Path(_GOLDEN.value)
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    for folder in (golden, assets):
        if not folder.is_dir():
            raise app.UsageError(f"{folder} is not a folder; see --golden and --assets.")
    print(f"platform: {jax.default_backend()}, {jax.devices()[0].device_kind}; bounds are relative to the scale")
    print(f"{'array':40} {'max error':>10} {'scale':>10} {'relative':>9} {'bound':>8}  verdict")
    off = []
    parts = (parity_modules, parity_multiface, parity_raymarch, parity_rasterize)
    for row in itertools.chain.from_iterable(part.rows(golden, assets) for part in parts):
        relative = row.max_error / row.scale if row.scale else float(row.max_error > 0)
        verdict = "ok" if row.ok else "OFF"
        print(f"{row.name:40} {row.max_error:10.3g} {row.scale:10.4g} {relative:9.1e} {row.bound:8.0e}  {verdict}", flush=True)
        off += [] if row.ok else [row.name]
    print(f"off: {', '.join(off)}" if off else "all within their bounds")
    sys.exit(bool(off))


if __name__ == "__main__":
    app.run(main)
