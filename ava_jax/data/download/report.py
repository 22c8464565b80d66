"""What a download will do, and what it could not, as a terminal shows it."""

import sys
from collections.abc import Sequence

from ava_jax.core import amounts
from ava_jax.data.download.engine import Plan, Problem


def table(plan: Plan) -> str:
    """Files and bytes of each group of a plan, and of all."""
    rows = []
    groups = dict.fromkeys([task.item.group for task in plan.tasks] + [item.group for item, _ in plan.kept])
    for group in [*groups, None]:
        tasks = [task for task in plan.tasks if group in (None, task.item.group)]
        kept = [size for item, size in plan.kept if group in (None, item.group)]
        rows.append((group or "in all", len(tasks), amounts.size(sum(task.bytes for task in tasks)), len(kept), amounts.size(sum(kept))))
    head = ("asset", "to fetch", "bytes", "there", "bytes")
    lines = [f"{a:20}{b:>9}{c:>11}{d:>8}{e:>11}" for a, b, c, d, e in [head, *rows]]
    unsized = sum(task.facts.size is None for task in plan.tasks)
    notes = [f"{unsized} files are of unknown size."] if unsized else []
    notes += [] if plan.exact else ["Bytes of chosen frames are estimated from their number."]
    return "\n".join(lines + notes)


def require_none(problems: Sequence[Problem], *, allow_missing: bool) -> None:
    """Lists what is not there, on stderr.

    Args:
      problems: files that could not be fetched.
      allow_missing: whether files that the server lacks are no failure.

    Raises:
      ValueError: there is a failure.
    """
    for problem in problems:
        print(f"{problem.path}: {problem.text}", file=sys.stderr)
    if problems and not (allow_missing and all(problem.missing for problem in problems)):
        missing = sum(problem.missing for problem in problems)
        lost = len(problems) - missing
        parts = [f"{missing} missing on the server (--allow_missing takes it so)"] if missing else []
        parts += [f"{lost} failed: run the same again, it goes on where it stopped"] if lost else []
        raise ValueError(f"not all is there; listed above are {' and '.join(parts)}.")
