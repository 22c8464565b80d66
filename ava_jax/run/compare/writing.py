"""A comparison of runs as text for the terminal, JSON, CSV and LaTeX."""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from ava_jax.data import files
from ava_jax.data.text_files import csv_text
from ava_jax.metrics import paired, table
from ava_jax.run.compare.comparison import ALL, Comparison, Line

_MOST_LINES = 24  # of a table on the terminal; the files hold all
_MOST_NOTES = 12
_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "²": "$^2$"}
)
_COLUMNS = (
    "run_a", "step_a", "run_b", "step_b", "split", "by", "group", "score", "unit", "higher_is_better", "samples", "clusters",
    "mean_a", "mean_b", "difference", "low", "high", "wins_a", "wins_b", "better",
)  # fmt: skip


def write(comparisons: Sequence[Comparison], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `compare.json`, `compare.csv` (a row per line), `differences.csv` (a row per shared sample) and `compare.tex`.

    Args:
      comparisons: one or more, of one first run.
      folder: that exists.

    Returns:
      The files.

    Raises:
      OSError: a file cannot be written.
    """
    contents = {
        "compare.json": json.dumps({"comparisons": [_as_json(one) for one in comparisons]}, indent=2, allow_nan=False) + "\n",
        "compare.csv": csv_text(_COLUMNS, (_row(one, line) for one in comparisons for line in one.lines)),
        "differences.csv": _differences(comparisons),
        "compare.tex": "\n\n".join(map(_latex, comparisons)) + "\n",
    }
    for name, text in contents.items():
        files.replace(folder / name, text)
    return [folder / name for name in contents]


def text(comparison: Comparison) -> str:
    """What the terminal shows: who is compared, the scores of each split, and each split's first score by group."""
    first, second = comparison.first, comparison.second
    parts = ["\n".join([first.line(), second.line()]), _told(comparison)]
    for split in comparison.splits:
        lines = [line for line in comparison.lines if line.split == split]
        whole = [line for line in lines if line.by == ALL]
        shown = [line for line in whole if line.found.difference.samples and comparison.first.is_main(line.score)] or whole
        parts.append(_table(comparison, split, shown, of_scores=True))
        for by in dict.fromkeys(line.by for line in lines if line.by != ALL):
            parts.append(_by_group(comparison, split, by, [line for line in lines if line.by == by]))
    return "\n\n".join(parts)


def _told(comparison: Comparison) -> str:
    """What is not the same in both evaluations, and what an interval is."""
    a, b, many = comparison.first.label, comparison.second.label, table.plural(comparison.first.scored.sample_name)
    found = [f"not the same in both: {note}" for note in comparison.notes[:_MOST_NOTES]]
    if len(comparison.notes) > _MOST_NOTES:
        found.append(f"not the same in both: {len(comparison.notes) - _MOST_NOTES} more; all are in compare.json")
    for split, matched in comparison.splits.items():
        alone = ", ".join(
            f"{count} that {label} alone has" for count, label in ((matched.only_first, a), (matched.only_second, b)) if count
        )
        found.append(f"{split}: {len(matched.pairs)} {many} in both{f'; left out: {alone}' if alone else ''}")
    clusters = f"; {many} of one {' and '.join(comparison.clusters)} count as one observation" if comparison.clusters else ""
    found.append(f"± half the {table.CONFIDENCE:.0%} confidence interval of the mean paired difference{clusters}.")
    return "\n".join(found)


def _by_group(comparison: Comparison, split: str, by: str, lines: Sequence[Line]) -> str:
    """Groups in the first score that all have, or any: all groups, or those that differ most where they are many."""
    scored = [[line.found.difference.samples > 0 for line in lines if line.score == name] for name in comparison.scores]
    name = comparison.scores[max(range(len(scored)), key=lambda i: (all(scored[i]), any(scored[i]), -i))]
    shown = [line for line in lines if line.score == name]
    title = f"{split}, {name.replace('_', ' ')} by {by}"
    if len(shown) <= _MOST_LINES:
        return _table(comparison, title, shown)
    order = sorted(shown, key=lambda line: -abs(line.found.difference.value) if line.found.difference.samples else 0.0)
    return f"{_table(comparison, title, order[:_MOST_LINES])}\nThe {_MOST_LINES} of {len(shown)} that differ most; all are in compare.csv."


def _table(comparison: Comparison, title: str, lines: Sequence[Line], *, of_scores: bool = False) -> str:
    a, b = comparison.first.label, comparison.second.label
    header = [title, table.plural(comparison.first.scored.sample_name), a, b, f"{b} - {a}", "unit", f"{b} wins", "better"]
    cells = []
    for line in lines:
        score, found = comparison.first.score(line.score), line.found
        half = f" ±{score.format(found.difference.half_width)}" if math.isfinite(found.difference.half_width) else ""
        apart = score.format(found.difference.value, signed=True) + half
        name = line.score.replace("_", " ") if of_scores else line.group
        won = f"{found.wins / found.difference.samples:.0%}" if found.difference.samples else "-"
        means = (score.format(found.first), score.format(found.second))
        cells.append([name, str(found.difference.samples), *means, apart, score.unit or "", won, _better(comparison, line)])
    return table.format_table(header, cells)


def _better(comparison: Comparison, line: Line) -> str:
    names = {paired.FIRST: comparison.first.label, paired.SECOND: comparison.second.label, paired.NEITHER: "neither shown"}
    return names.get(line.found.better, "no interval" if line.found.difference.samples else "-")


def _as_json(comparison: Comparison) -> dict[str, Any]:
    runs = {
        name: {"run": run.given, "step": run.scored.step, "scores": str(run.scored.folder), "data": run.scored.header.get("data", [])}
        for name, run in (("a", comparison.first), ("b", comparison.second))
    }
    splits = {}
    for split, matched in comparison.splits.items():
        lines = [line for line in comparison.lines if line.split == split]
        by: dict[str, Any] = {}
        for line in lines:
            by.setdefault(line.by, {}).setdefault(line.group, {})[line.score] = _of_line(line)
        splits[split] = {
            "shared": len(matched.pairs),
            "only_a": matched.only_first,
            "only_b": matched.only_second,
            "scores": by.pop(ALL)[ALL],
            "by": by,
        }
    told = {"not_the_same": list(comparison.notes), "confidence": table.CONFIDENCE, "cluster_by": list(comparison.clusters)}
    return {**runs, "sample_name": comparison.first.scored.sample_name, **told, "splits": splits}


def _of_line(line: Line) -> dict[str, Any]:
    found = line.found
    means = {"mean_a": found.first, "mean_b": found.second}
    told = {name: value if math.isfinite(value) else None for name, value in means.items()}
    return {**told, "difference": found.difference.to_json(), "wins_a": found.losses, "wins_b": found.wins, "better": _letter(line)}


def _letter(line: Line) -> str | None:
    """Which run is better, "a", "b" or "neither"; None where that is not known."""
    return {paired.FIRST: "a", paired.SECOND: "b", paired.NEITHER: "neither"}.get(line.found.better)


def _row(comparison: Comparison, line: Line) -> list[Any]:
    found, mean, declared = line.found, line.found.difference, comparison.first.scored.scores[line.score]
    who = [x for run in (comparison.first, comparison.second) for x in (run.given, run.scored.step)]
    interval = (mean.value - mean.half_width, mean.value + mean.half_width)
    values = [found.first, found.second, mean.value, *interval]
    what = [line.split, line.by, line.group, line.score, declared.unit, declared.higher_is_better, mean.samples, mean.clusters]
    return [*who, *what, *("" if math.isnan(value) else value for value in values), found.losses, found.wins, _letter(line) or ""]


def _differences(comparisons: Sequence[Comparison]) -> str:
    """Every shared sample: what it is, and each score of both with the difference."""
    by, scores = comparisons[0].by, comparisons[0].scores
    header = ["run_a", "run_b", "split", *by, *(f"{name}_{kind}" for name in scores for kind in ("a", "b", "difference"))]
    rows = []
    for one in comparisons:
        for split, matched in one.splits.items():
            for a, b in matched.pairs:
                values = [
                    x
                    for name in scores
                    for x in (a.get(name, math.nan), b.get(name, math.nan), b.get(name, math.nan) - a.get(name, math.nan))
                ]
                cells = ("" if math.isnan(value) else value for value in values)
                rows.append([one.first.given, one.second.given, split, *(a[name] for name in by), *cells])
    return csv_text(header, rows)


def _latex(comparison: Comparison) -> str:
    """A table for a paper (packages: booktabs): the scores of each split over all samples; the better run's mean is bold."""
    first, second = comparison.first, comparison.second
    unlike = [f"% not the same in both: {note}" for note in comparison.notes]
    lines = [f"% {first.line()}", f"% {second.line()}", *unlike, r"\begin{tabular}{llrrr}", r"\toprule"]
    lines.append(
        rf"split & score & {first.label} & {second.label} & {second.label} $-$ {first.label} ({table.CONFIDENCE:.0%} interval) \\".replace(
            "%", r"\%"
        )
    )
    for split in comparison.splits:
        lines.append(r"\midrule")
        for line in (line for line in comparison.lines if line.split == split and line.by == ALL and line.found.difference.samples):
            score, found = first.score(line.score), line.found
            means = [score.format(found.first), score.format(found.second)]
            if found.better in (paired.FIRST, paired.SECOND):
                at = found.better == paired.SECOND
                means[at] = rf"\textbf{{{means[at]}}}"
            name = f"{line.score.replace('_', ' ')}{f' ({score.unit})' if score.unit else ''}"
            lines.append(
                " & ".join([split.replace("_", " ").translate(_TEX), name.translate(_TEX), *means, _interval(score, found)]) + r" \\"
            )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _interval(score: Any, found: paired.Paired) -> str:
    mean = found.difference
    told = score.format(mean.value, signed=True)
    if not math.isfinite(mean.half_width):
        return f"${told}$"
    ends = (score.format(mean.value + sign * mean.half_width, signed=True) for sign in (-1, 1))
    return f"${told}$ [{', '.join(f'${end}$' for end in ends)}]"
