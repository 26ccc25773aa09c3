"""Workflow commands, to the letter: GitHub drops what it cannot parse, and shows ten of a kind."""

from __future__ import annotations

import pytest

from batchform.errors import Problem, Severity
from batchform.render.github import error_command, github_text
from batchform.source_text import Place


def problem(
    number: int = 1, severity: Severity = Severity.ERROR, *, file: str = "f.yaml", detail: str = "", hint: str = ""
) -> Problem:
    """A problem at line `number`."""
    place = Place(file=file, line=number, column=5, end_line=number, end_column=9)
    return Problem(code="BF202", summary="Unknown key", detail=detail, hint=hint, place=place, severity=severity)


def test_a_problem_is_one_command() -> None:
    """File, place, title and message; the hint and related places on lines of their own."""
    whole = problem(hint="Write it.", detail="100% wrong.")
    assert github_text([whole], lambda file: f"conf/{file}") == (
        "::error file=conf/f.yaml,line=1,col=5,endLine=1,endColumn=9,title=Unknown key [BF202]"
        "::100%25 wrong.%0AWrite it."
    )


def test_properties_and_data_are_escaped_each_in_its_way() -> None:
    """A file name may have characters that end the property; a line break would end the command."""
    (line,) = github_text([problem(file="a:b,c%\n.yaml", detail="a::b, c%\r\nd")], str).splitlines()
    assert line.startswith("::error file=a%3Ab%2Cc%25\\x0a.yaml,line=1,")
    assert line.endswith("::a::b, c%25\\x0d\\x0ad")


@pytest.mark.parametrize("bad", ["\x1b[31m", "\u202e", "\u2028", "\x85", "##[error]", "##vso[x]", "\n::error::"])
def test_a_file_name_cannot_reach_the_log(bad: str) -> None:
    """Whoever opens a pull request names the files."""
    text = github_text([problem(file=f"a{bad}.yaml")], str)
    assert bad not in text
    assert len(text.splitlines()) == 1


def test_a_warning_is_a_warning_and_comes_after_the_errors() -> None:
    """Errors first, ten of each kind."""
    lines = github_text([problem(1, Severity.WARNING), problem(2)], str).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning"]


def test_ten_of_a_kind_are_shown_and_the_rest_counted() -> None:
    """In one line, as a notice."""
    many = [problem(number) for number in range(1, 13)] + [problem(number, Severity.WARNING) for number in range(1, 12)]
    lines = github_text(many, str).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 10 + ["::warning"] * 10 + ["::notice"]
    assert "2 more errors and 1 more warning" in lines[-1]


def test_what_has_no_place_has_no_file() -> None:
    """A file that cannot be opened has no line to mark."""
    bare = Problem(code="BF101", summary="The file cannot be read", detail='"f.yaml": No such file.', place=None)
    assert github_text([bare], str) == '::error title=The file cannot be read [BF101]::"f.yaml": No such file.'


def test_over_several_lines_there_is_no_end_column() -> None:
    """GitHub would read it as a column of the first line."""
    place = Place(file="f", line=1, column=5, end_line=3, end_column=2)
    whole = Problem(code="BF202", summary="s", detail="d", place=place)
    assert github_text([whole], str) == "::error file=f,line=1,col=5,endLine=3,title=s [BF202]::d"


def test_nothing_wrong_is_nothing_said() -> None:
    """Not even a count."""
    assert github_text([], str) == ""


def test_an_error_is_one_command() -> None:
    """Its lines stay in one command, and nothing in them ends it."""
    assert (
        error_command("A: b,\x1b c", "100%\n::error::x\x1b")
        == "::error title=A%3A b%2C\\x1b c::100%25%0A\\x3a:error::x\\x1b"
    )
