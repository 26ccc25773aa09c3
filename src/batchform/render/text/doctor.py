"""What `batchform doctor` found: a line for each check, and what to do below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.doctor import Grade
from batchform.render.escape import printable
from batchform.render.layout import wrap
from batchform.render.style import Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.doctor import Check
    from batchform.render.style import Style

_TONES: Final = {Grade.OK: Tone.GREEN, Grade.WARNING: Tone.YELLOW, Grade.PROBLEM: Tone.RED}
_WORD: Final = 7  # columns of the widest grade
_TEXT: Final = 40  # the fewest columns for a text beside the names


def doctor_text(checks: Sequence[Check], style: Style) -> str:
    """The checks in their order, then how many of them need attention."""
    names = max((len(check.name) for check in checks), default=0)
    beside = _WORD + 2 + names + 2
    indent = " " * (beside if style.columns - beside >= _TEXT else 4)
    lines: list[str] = []
    for check in checks:
        head = f"{check.grade.value:{_WORD}}  {check.name:{names}}  "
        texts = [printable(text) for text in (check.summary, check.detail) if text]
        shown = [line for text in texts for line in wrap(text, style.columns, first=indent, rest=indent)]
        if len(indent) == beside:
            head += shown.pop(0)[beside:]
        lines += [style.paint(_TONES[check.grade], head[:_WORD]) + head[_WORD:].rstrip(), *shown]
    return "\n".join([*lines, "", _totals(checks)])


def _totals(checks: Sequence[Check]) -> str:
    found = [(grade, sum(check.grade is grade for check in checks)) for grade in (Grade.PROBLEM, Grade.WARNING)]
    counted = [f"{n} {grade.value}" if n == 1 else f"{n} {grade.value}s" for grade, n in found if n]
    return f"{', '.join(counted)}." if counted else "Everything is in order."
