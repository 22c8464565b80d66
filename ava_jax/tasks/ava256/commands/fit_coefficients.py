"""Fits expression codes to another program's coefficients (FLAME's, say) on frames that have both; then makes codes of new coefficients.

  ava ava256 encode --workdir=RUN --out=codes.npz                                              # codes of captured frames
  ava ava256 fit_coefficients --codes=codes.npz --coefficients=flame.npz --keys=expr,jaw_pose --out=fit.npz
  ava ava256 fit_coefficients --fit=fit.npz --coefficients=new.npz --out=driven.npz            # a file of codes, which drives anybody

Coefficients are an npz with arrays [F, ...], named by --keys and laid side by side, and beside them capture and segment (str [F]) and
frame (int [F]) as the codes have them, by which both are paired; without these, as many frames of both in one order. Ridge regression;
the ridge is the one that predicts segments held out best, and what it explains of them is told.
"""

import pathlib

from absl import flags

_CODES = flags.DEFINE_string("codes", None, "File of codes (.npz, .csv), as ava ava256 encode writes it: fits.")
_FIT = flags.DEFINE_string("fit", None, "A fit that this command wrote: makes codes of --coefficients.")
_COEFFICIENTS = flags.DEFINE_string("coefficients", None, "npz of the coefficients.")
_KEYS = flags.DEFINE_list("keys", None, "Arrays of the npz, with commas between; by default coefficients, or what the fit was made of.")
_OUT = flags.DEFINE_string("out", None, "The file to write: a fit (.npz), or codes (.npz, .csv).")


def main() -> None:
    """Fits or applies, as the flags say."""
    if bool(_CODES.value) == bool(_FIT.value):
        raise ValueError("give --codes=CODES.npz to fit, or --fit=FIT.npz to make codes of new coefficients: one of the two.")
    for flag, example in ((_COEFFICIENTS, "--coefficients=flame.npz"), (_OUT, "--out=fit.npz" if _CODES.value else "--out=driven.npz")):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing, as in {example}.")
    given, out = (pathlib.Path(flag.value).expanduser() for flag in (_COEFFICIENTS, _OUT))
    if _CODES.value:
        _fit(given, out)
    else:
        _apply(given, out)


def _fit(given: pathlib.Path, out: pathlib.Path) -> None:
    from ava_jax.tasks.ava256.apps import coefficients
    from ava_jax.tasks.ava256.data import codes_file

    if out.suffix != ".npz":
        raise ValueError(f"--out={out}: a fit is an npz: let its name end in .npz.")
    keys = tuple(_KEYS.value or (coefficients.KEY,))
    held, codes = coefficients.read(given, keys), codes_file.read(_CODES.value)
    ours, theirs, notes = coefficients.paired(held, codes)
    shared = codes.at(theirs)
    groups = [f"{capture} {segment}" for capture, segment in zip(shared.capture.tolist(), shared.segment.tolist(), strict=True)]
    found, tried = coefficients.fit(held.values[ours], shared.codes, groups, keys=keys)
    coefficients.save(out, found)
    kinds = len(set(groups))
    print("\n".join(notes))
    print(
        f"{held.values.shape[1]} coefficients, {len(ours)} frames in {kinds} segment{'s' * (kinds != 1)}; ridge {found.ridge:.2g} of "
        f"{min(tried):.0e} to {max(tried):.0e}: explains {found.explained:.1%} of the codes' variance on frames held out"
    )
    if found.explained <= 0:
        print("warning: that is no better than the mean code: are both of the same frames?")
    print(f"wrote {out}")


def _apply(given: pathlib.Path, out: pathlib.Path) -> None:
    from ava_jax.tasks.ava256.apps import coefficients
    from ava_jax.tasks.ava256.data import codes_file

    found = coefficients.load(pathlib.Path(_FIT.value).expanduser())
    held = coefficients.read(given, tuple(_KEYS.value or found.keys))
    made = codes_file.of(found.codes(held.values), held.capture, held.segment, held.frame)
    if unlike := found.unlike(held.values):
        print(f"{unlike} of {len(held.values)} frames have coefficients far outside of those that were fitted on: their codes are guesses")
    codes_file.write(out, made)
    print(f"wrote {out}")
