"""Scores as tables of a paper: LaTeX with the package booktabs, the protocol in comments above them."""

from collections.abc import Mapping, Sequence

from ava_jax.metrics import table
from ava_jax.run.evaluation import SplitReport
from ava_jax.run.score_tables import Line, View, words
from ava_jax.tasks.base import Score, Task

_ESCAPED = {"\\": r"\textbackslash{}"} | {c: "\\" + c for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def document(task: Task, reports: Mapping[str, SplitReport], protocol: Sequence[str] = ()) -> str:
    """A `tabular` of the main scores with a row per split and, where the task's scores have regions, one per split with a row for each.

    Args:
      task: declares the scores.
      reports: split -> its rows.
      protocol: lines that are put above, as comments, with what each main score is.
    """
    views = {split: View(task, report) for split, report in reports.items()}
    lines = {split: view.line(view.report.rows) for split, view in views.items()}
    comments = [*protocol, *(f"{score.name}: {score.what}" for score in task.scores if score.main and score.what)]
    parts = ["".join(f"% {' '.join(line.split())}\n" for line in ("needs \\usepackage{booktabs}", *comments)), _main(task, lines)]
    parts += [text for split, view in views.items() if (text := _regions(view, split, lines[split]))]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_ESCAPED.get(c, c) for c in text)


def _main(task: Task, lines: Mapping[str, Line]) -> str:
    scores = [score for score in task.scores if score.main]
    rows = [[split, str(line.count), *(_cell(score, line.means[score.name]) for score in scores)] for split, line in lines.items()]
    return _tabular(["split", table.plural(task.sample_name), *map(_head, scores)], rows)


def _regions(view: View, split: str, line: Line) -> str:
    rows, columns = view.regions_of(line)
    cells = [
        [row, str(count), *(_cell(columns[c], means[c]) if c in means else "--" for c in columns)] for row, (count, means) in rows.items()
    ]
    heads = [_head(score, name) for name, score in columns.items()]
    return _tabular([split, table.plural(view.task.sample_name), *heads], cells) if rows else ""


def _cell(score: Score, mean: table.Mean) -> str:
    return "--" if not mean.samples else score.format(mean.value)


def _head(score: Score, name: str = "") -> str:
    """Name, unit and an arrow to where better is."""
    unit = f" ({score.unit})" if score.unit else ""
    return f"{name or score.name}{unit} {'↑' if score.higher_is_better else '↓'}"


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        text = " & ".join(escaped(words(cell)) for cell in cells)
        return text.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$") + r" \\"

    spec = "l" + "r" * (len(header) - 1)
    body = [f"\\begin{{tabular}}{{{spec}}}", r"\toprule", line(header), r"\midrule", *map(line, rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(body) + "\n"
