"""The table: what was measured, against what, and whether that is good enough."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import batchform

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. `ours` and `theirs` are in `unit`; None where the peer is missing, which `note` says.

    `goal` is the most that ours / theirs may be; the least, with `at_least`; None for a figure without a goal.
    """

    what: str
    peer: str
    ours: float | None
    theirs: float | None
    unit: str = "s"
    goal: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by theirs."""
        return None if self.ours is None or not self.theirs else self.ours / self.theirs

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no goal or no peer."""
        if self.goal is None or self.ratio is None:
            return ""
        return "met" if (self.ratio >= self.goal if self.at_least else self.ratio <= self.goal) else "missed"


@dataclass(slots=True)
class Table:
    """The rows, printed as they come."""

    rows: list[Row] = field(default_factory=list)

    def begin(self) -> None:
        """Print the heading."""
        where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        say(f"batchform {batchform.__version__}, {where}")
        say()
        say(f"{'':<48}{'':<34}{'ours':>10}{'peer':>10}  {'ratio':>7}  goal")

    def add(self, row: Row) -> None:
        """Print a row, and keep it."""
        self.rows.append(row)
        goal = "" if row.goal is None else f"{'at least' if row.at_least else 'at most'} {row.goal:g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        tail = "  ".join(filter(None, [goal, row.verdict, row.note]))
        say(f"{row.what:<48}{row.peer:<34}{_figure(row.ours):>10}{_figure(row.theirs):>10}  {ratio:>7}  {tail}")

    def end(self) -> None:
        """Print the sum of it."""
        judged = [row for row in self.rows if row.verdict]
        met = sum(row.verdict == "met" for row in judged)
        left_out = sum(row.goal is not None and row.ratio is None for row in self.rows)
        say()
        say(f"{met} of {len(judged)} goals met" + (f"; {left_out} not measured." if left_out else "."))

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        rows = [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in self.rows]
        document: dict[str, Any] = {
            "batchform": batchform.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "rows": rows,
        }
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}" if value < 100 else f"{value:,.0f}"
