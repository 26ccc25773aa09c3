"""Problems -> JSON, in the shape of `terraform validate -json`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batchform.errors import NO_SOURCES, Severity
from batchform.render.documents.plan import FORMAT_VERSION, range_document
from batchform.render.excerpt import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.errors import Problem
    from batchform.source_text import Place, SourceText

_LONGEST = 400
"""A longer line is cut around the place: a file may be one line of 16 MiB with many problems."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def diagnostics_document(problems: Sequence[Problem], sources: Mapping[str, SourceText] = NO_SOURCES) -> dict[str, Any]:
    """Every problem of the configuration. Warnings alone leave it valid."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": len(problems) - errors,
        "diagnostics": [_problem(problem, sources) for problem in problems],
    }


def _problem(problem: Problem, sources: Mapping[str, SourceText]) -> dict[str, Any]:
    """One of the `diagnostics`. Without the source, `snippet` is null and the range has no bytes."""
    return {
        "severity": problem.severity.value,
        "code": problem.code,
        "summary": problem.summary,
        "detail": problem.detail,
        "hint": problem.hint,
        "range": _range(problem.place, sources),
        "related": [{"range": _range(place, sources), "note": note} for place, note in problem.related],
        "snippet": _snippet(problem.place, sources),
    }


def _range(place: Place | None, sources: Mapping[str, SourceText]) -> dict[str, Any] | None:
    """The place, with offsets in bytes if the source is given."""
    document = range_document(place)
    if document is not None and place is not None and (source := sources.get(place.file)):
        document["start"]["byte"] = source.byte(source.offset(place.line, place.column))
        document["end"]["byte"] = source.byte(source.offset(place.end_line, place.end_column))
    return document


def _snippet(place: Place | None, sources: Mapping[str, SourceText]) -> dict[str, Any] | None:
    """The line in which the place begins, and the part of it to highlight."""
    if place is None or place.file not in sources:
        return None
    found = excerpt(place, sources[place.file], _LONGEST)
    return {
        "context": None,
        "code": _SURROGATE.sub("\ufffd", found.before + found.marked + found.after),
        "start_line": found.line,
        "highlight_start_offset": len(found.before),
        "highlight_end_offset": len(found.before) + len(found.marked),
        "values": [],
    }
