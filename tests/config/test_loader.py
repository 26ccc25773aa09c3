"""Files -> Config, or every problem at once."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.config import loader
from batchform.config.problems import Code
from batchform.errors import ConfigError, Severity
from batchform.model import Batch, Config, GuardName, Service
from batchform.source_text import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from batchform.errors import Problem

    Writer = Callable[[Mapping[str, str]], list[str]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in the tests are short and relative."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """A function that writes files into the working directory."""

    def write_files(files: Mapping[str, str]) -> list[str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return list(files)

    return write_files


def problems(paths: list[str]) -> tuple[Problem, ...]:
    """What is wrong with the files."""
    with pytest.raises(ConfigError) as caught:
        loader.load(paths)
    return caught.value.problems


def shown(found: tuple[Problem, ...]) -> list[tuple[str, str]]:
    """Code and place of each."""
    return [(problem.code, str(problem.place)) for problem in found]


FULL = """\
version: 1
service: email
guards: {max_records: 500000, max_starts: 50}
defaults: {labels: {team: crm, region: none}, description: by default, hold: true, not_before: 2026-12-01T06:00:00Z}
batches:
  b:
    batch_id: 3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11
    reference_id: crm-4711 (a/b)
    description: November refresh, Zürich 😀
    labels: {region: uk}
    records: 9800
    submitted_at: 2026-11-20T10:00:00.5+01:00
    not_before: "2026-12-02T06:00:00Z"
    hold: false
  a:
    batch_id: B_2
"""


def test_every_field_arrives(write: Writer) -> None:
    """Batches are sorted by name, times are UTC, defaults fill what a batch leaves out, labels merge key by key."""
    config = loader.load(write({"batchform.yaml": FULL}))
    assert (config.service, config.files, config.warnings) == (Service.EMAIL, ("batchform.yaml",), ())
    assert [(g.name, g.limit, str(g.place)) for g in config.guards] == [
        (GuardName.MAX_STARTS, 50, "batchform.yaml:3:31"),
        (GuardName.MAX_RECORDS, 500_000, "batchform.yaml:3:10"),
    ]
    assert config.batches == (
        Batch(
            name="a",
            batch_id="B_2",
            place=Place(file="batchform.yaml", line=15, column=3, end_line=15, end_column=4),
            description="by default",
            labels={"team": "crm", "region": "none"},
            not_before=datetime(2026, 12, 1, 6, tzinfo=UTC),
            hold=True,
        ),
        Batch(
            name="b",
            batch_id="3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11",
            place=Place(file="batchform.yaml", line=6, column=3, end_line=6, end_column=4),
            reference_id="crm-4711 (a/b)",
            description="November refresh, Zürich 😀",
            labels={"team": "crm", "region": "uk"},
            records=9800,
            submitted_at=datetime(2026, 11, 20, 9, 0, 0, 500_000, tzinfo=UTC),
            not_before=datetime(2026, 12, 2, 6, tzinfo=UTC),
        ),
    )


@pytest.mark.parametrize(
    "text", ["version: 1\n", "version: 1\nbatches: {}\n", "version: 1\nguards: {}\ndefaults: {}\n"]
)
def test_a_configuration_may_declare_nothing(text: str, write: Writer) -> None:
    """All batches may have been removed."""
    config = loader.load(write({"f.yaml": text}))
    assert config == Config(files=("f.yaml",))


# --- which files -----------------------------------------------------------------------------------------------------


def one(name: str, **fields: object) -> str:
    """A file with one batch."""
    return f"version: 1\nbatches: {{{name}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}}}\n"


def test_a_folder_stands_for_its_yaml_files_not_deeper(write: Writer) -> None:
    """In the order of their names, with either suffix. Hidden files and subfolders are ignored."""
    write({"d/b.yaml": one("b", batch_id="B"), "d/a.yml": one("a", batch_id="A")})
    write({"d/.c.yaml": "no", "d/e.txt": "no", "d/deeper/f.yaml": "no"})
    assert loader.load(["d"]).files == ("d/a.yml", "d/b.yaml")
    assert loader.load(["d/"]).files == ("d/a.yml", "d/b.yaml")


def test_a_folder_without_yaml_is_an_error(tmp_path: Path) -> None:
    """The path is probably wrong."""
    (tmp_path / "d").mkdir()
    (problem,) = problems(["d"])
    assert (problem.code, problem.place) == ("BF104", None)
    assert '"d"' in problem.detail


def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is the operating system's own."""
    (tmp_path / "d").mkdir()

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    (problem,) = problems(["d"])
    assert (problem.code, problem.detail) == ("BF101", '"d": Permission denied.')


def test_a_file_given_twice_counts_once(write: Writer, tmp_path: Path) -> None:
    """Also through its folder, another spelling or a link: it declares its batches once."""
    write({"d/a.yaml": one("a", batch_id="A")})
    (tmp_path / "link.yaml").symlink_to("d/a.yaml")
    config = loader.load(["d/a.yaml", "d", "d/../d/a.yaml", "link.yaml", tmp_path / "d" / "a.yaml"])
    assert len(config.files) == 1
    assert [batch.name for batch in config.batches] == ["a"]


def test_a_folder_named_like_a_file_and_a_loop_of_links_are_refused(write: Writer, tmp_path: Path) -> None:
    """Each with its own problem, next to those of the files that can be read."""
    write({"d/ok.yaml": "", "d/sub.yaml/x.txt": ""})
    (tmp_path / "d" / "loop.yaml").symlink_to("loop.yaml")
    assert sorted(shown(problems(["d"]))) == [("BF101", "None"), ("BF102", "None"), ("BF201", "d/ok.yaml:1:1")]


def test_nothing_is_read_from_a_path_with_a_nul() -> None:
    """The loader reports it as a problem."""
    assert shown(problems(["a\0"])) == [("BF101", "None")]


# --- the shape of one file -------------------------------------------------------------------------------------------

HEAD = "version: 1\nbatches:\n  a:\n    batch_id: x\n"


@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        ("", "BF201", "1:1", "version: 1"),
        ("# nothing\n", "BF201", "1:1", "version: 1"),
        ("[]\n", "BF204", "1:1", "a list"),
        ("batches: {}\n", "BF203", "1:1", "version: 1"),
        ("version: 2\nnew: 1\n", "BF212", "1:10", "newer"),
        ("version: '1'\n", "BF212", "1:10", "the number 1"),
        ("version: true\n", "BF212", "1:10", "not true"),
        ("version: 1.0\n", "BF212", "1:10", "the number 1"),
        ("version: 1\nbatchs: {}\n", "BF202", "2:1", "Did you mean `batches`?"),
        ("version: 1\nservice: fone\n", "BF213", "2:10", "Did you mean `phone`?"),
        ("version: 1\nservice: sms\n", "BF213", "2:10", "phone, email, address"),
        ("version: 1\nservice: no\n", "BF213", "2:10", "phone, email, address"),
        ("version: 1\nbatches:\n", "BF204", "2:9", "{}"),
        ("version: 1\nbatches: [a]\n", "BF204", "2:10", "a list"),
        ("version: 1\nbatches:\n  a:\n", "BF203", "3:3", "batch_id"),
        ("version: 1\nbatches:\n  a: x\n", "BF204", "3:6", "a mapping"),
        ("version: 1\nbatches: {a: {bacth_id: x}}\n", "BF202", "2:15", "Did you mean `batch_id`?"),
        ("version: 1\nbatches: {a b: {batch_id: x}}\n", "BF206", "2:11", '" " at position 2'),
        ("version: 1\nbatches: {-a: {batch_id: x}}\n", "BF206", "2:11", 'begins with "-"'),
        (f"version: 1\nbatches: {{{'a' * 101}: {{batch_id: x}}}}\n", "BF206", "2:11", "101 characters"),
        ("version: 1\nbatches: {'a\\n': {batch_id: x}}\n".replace("'", '"'), "BF206", "2:11", "line break"),
        ("version: 1\nbatches: {a: {batch_id: x y}}\n", "BF207", "2:25", '" " at position 2'),
        ('version: 1\nbatches: {a: {batch_id: "x\\n"}}\n', "BF207", "2:25", "line break"),
        ("version: 1\nbatches: {a: {batch_id: ''}}\n", "BF207", "2:25", "empty"),
        ("version: 1\nbatches: {a: {batch_id: é}}\n", "BF207", "2:25", "letters A to Z"),
        ("version: 1\nbatches: {a: {batch_id: 123}}\n", "BF205", "2:25", 'Write `"123"`'),
        ("version: 1\nbatches: {a: {batch_id: 12345e67}}\n", "BF205", "2:25", 'Write `"12345e67"`'),
        ("version: 1\nbatches: {a: {batch_id: }}\n", "BF204", "2:25", "an empty value"),
        ("version: 1\nbatches: {a: {batch_id: [x]}}\n", "BF204", "2:25", "a list"),
        (HEAD + "    reference_id: a;b\n", "BF208", "5:19", '";" at position 2'),
        (HEAD + "    reference_id: ' a'\n", "BF208", "5:19", 'begins with " "'),
        (HEAD + "    reference_id: '(a '\n", "BF208", "5:19", 'ends with " "'),
        (HEAD + f"    reference_id: {'a' * 257}\n", "BF208", "5:19", "257 characters"),
        (HEAD + "    reference_id: +447700900123\n", "BF208", "5:19", '"+" at position 1'),
        (HEAD + "    reference_id: 447700900123\n", "BF205", "5:19", 'Write `"447700900123"`'),
        (HEAD + "    description: 2026-11-20\n", "BF205", "5:18", 'Write `"2026-11-20"`'),
        (HEAD + "    description: ~\n", "BF205", "5:18", 'Write `"~"`'),
        (HEAD + "    description: 1.50\n", "BF205", "5:18", 'Write `"1.50"`'),
        (HEAD + f"    description: {'1' * 900}\n", "BF205", "5:18", "double quotes"),
        (HEAD + f"    description: {'1' * 5000}\n", "BF209", "5:18", "5,000 characters"),
        (HEAD + "    description: |\n      a\n      b\n", "BF209", "5:18", "`description: >-`"),
        (HEAD + '    description: "\\0"\n', "BF209", "5:18", '"\\x00" at position 1'),
        (HEAD + f"    description: {'a' * 1001}\n", "BF209", "5:18", "1,001 characters"),
        (HEAD + "    labels: {a: NO}\n", "BF205", "5:17", 'Write `"NO"`'),
        (HEAD + "    labels: {no: a}\n", "BF113", "5:14", 'Write `"no"`'),
        (HEAD + "    labels: {a b: c}\n", "BF206", "5:14", "position 2"),
        (HEAD + f"    labels: {{a: {'b' * 201}}}\n", "BF209", "5:17", "201 characters"),
        (HEAD + "    labels: [a]\n", "BF204", "5:13", "a list"),
        (HEAD + "    records: 10001\n", "BF210", "5:14", "10,001"),
        (HEAD + "    records: -1\n", "BF210", "5:14", "-1"),
        (HEAD + "    records: true\n", "BF204", "5:14", "not true"),
        (HEAD + "    records: '98'\n", "BF204", "5:14", "without quotes"),
        (HEAD + "    records: 0123\n", "BF204", "5:14", "not 0123"),
        (HEAD + "    records: 98.0\n", "BF204", "5:14", "98.0"),
        (HEAD + f"    records: {'1' * 5000}\n", "BF204", "5:14", "1…"),
        (HEAD + "    hold: yes\n", "BF204", "5:11", "`true` or `false`"),
        (HEAD + "    hold: 1\n", "BF204", "5:11", "`true` or `false`"),
        (HEAD + "    hold: 'true'\n", "BF204", "5:11", "without quotes"),
        (HEAD + "    not_before: 2026-12-01\n", "BF211", "5:17", "time of day"),
        (HEAD + "    not_before: 2026-12-01T06:00:00\n", "BF211", "5:17", "`2026-12-01T06:00:00Z` for UTC"),
        (HEAD + "    not_before: 2026-02-30T06:00:00Z\n", "BF211", "5:17", "calendar"),
        (HEAD + "    not_before: 0001-01-01T00:00:00+14:00\n", "BF211", "5:17", "calendar"),
        (HEAD + "    not_before: 2026-12-01T24:00:00Z\n", "BF211", "5:17", "2026-11-20T09:00:00Z"),
        (HEAD + "    not_before: 2026-W49-2T06:00:00Z\n", "BF211", "5:17", "2026-11-20T09:00:00Z"),
        (HEAD + "    not_before: 1764568800\n", "BF204", "5:17", "2026-11-20T09:00:00Z"),
        ("version: 1\nguards: {max_starts: -1}\n", "BF210", "2:22", "0 or more"),
        ("version: 1\nguards: {max_start: 1}\n", "BF202", "2:10", "`max_starts`"),
        ("version: 1\nguards: {max_records: 1e6}\n", "BF204", "2:23", "plain digits"),
        ("version: 1\ndefaults: {records: 5}\n", "BF202", "2:12", "belongs to one batch"),
        ("version: 1\ndefaults: {labels: {a: 1}}\n", "BF205", "2:24", '"1"'),
    ],
)
def test_one_fault_is_one_problem_at_its_place(text: str, code: str, place: str, says: str, write: Writer) -> None:
    """The code, the place of the wrong key or value, and an explanation."""
    found = [problem for problem in problems(write({"f.yaml": text})) if problem.code != "BF203" or code == "BF203"]
    assert shown(tuple(found)) == [(code, f"f.yaml:{place}")]
    assert says in f"{found[0].detail} {found[0].hint}"


@pytest.mark.parametrize("value", ['"NO"', '"0441"', '"1e5"', '"2026-11-20"', '"~"', '"+447700900123"'])
def test_what_the_hint_says_to_write_is_read_as_text(value: str, write: Writer) -> None:
    """The quoted form is the author's letters."""
    config = loader.load(write({"f.yaml": HEAD + f"    description: {value}\n"}))
    assert config.batches[0].description == value.strip('"')


def test_all_problems_of_all_files_come_at_once(write: Writer) -> None:
    """Sorted by place, problems without one first. A syntax error hides no problem of another file."""
    paths = write(
        {
            "b.yaml": "version: 1\nbatches: {a: {batch_id: x, hold: 1, records: -1, labels: {b c: 1}}}\n",
            "a.yaml": "version: 1\nbatches: {b: {batch_id: x}, c: {}}\nfoo: '\n",
            "c.yaml": "version: 1\nbatches: {a: {batch_id: v}, d: {batch_id: x, batch_id: z}}\n",
        }
    )
    assert shown(problems([*paths, "none.yaml"])) == [
        ("BF101", "None"),
        ("BF107", "a.yaml:3:6"),
        ("BF204", "b.yaml:2:34"),
        ("BF210", "b.yaml:2:46"),
        ("BF206", "b.yaml:2:59"),
        ("BF205", "b.yaml:2:64"),
        ("BF302", "c.yaml:2:11"),
        ("BF301", "c.yaml:2:43"),
        ("BF112", "c.yaml:2:46"),
    ]


def test_no_message_holds_a_character_that_acts(write: Writer) -> None:
    """Values are quoted with escapes and cut, wherever they come from."""
    name = '"\\e[31m\\u202e' + "x" * 100 + '"'
    batch = f"{{batch_id: {name}, {name}: {name}, records: {name}, hold: [], not_before: {name}}}"
    text = f"version: 1\n{name}: 1\nservice: {name}\nbatches: {{{name}: {batch}}}\n"
    for problem in problems(write({"f.yaml": text})):
        for said in (problem.detail, problem.hint):
            assert said.isprintable()
            assert len(said) < 300


# --- across batches and files ----------------------------------------------------------------------------------------


def test_one_batch_id_under_two_names_names_both_places(write: Writer) -> None:
    """In one file and across two. Each later one is a problem with the place of the first."""
    paths = write(
        {"a.yaml": "version: 1\nbatches: {a: {batch_id: x}, b: {batch_id: x}}\n", "c.yaml": one("c", batch_id="x")}
    )
    found = problems(paths)
    assert [(*pair, str(problem.related[0][0])) for pair, problem in zip(shown(found), found, strict=True)] == [
        ("BF301", "a.yaml:2:43", "a.yaml:2:25"),
        ("BF301", "c.yaml:2:25", "a.yaml:2:25"),
    ]


def test_one_name_in_two_files_names_both_places(write: Writer) -> None:
    """Even if it is the same batch: it may be declared once."""
    (problem,) = problems(write({"a.yaml": one("a", batch_id="x"), "b.yaml": one("a", batch_id="x")}))
    assert (problem.code, str(problem.place), str(problem.related[0][0])) == ("BF302", "b.yaml:2:11", "a.yaml:2:11")


@pytest.mark.parametrize("setting", ["service: phone", "guards: {}"])
def test_a_setting_may_stand_in_one_file_only(setting: str, write: Writer) -> None:
    """Even if both are equal."""
    paths = write(dict.fromkeys(("a.yaml", "b.yaml", "c.yaml"), f"version: 1\n{setting}\n"))
    found = problems(paths)
    assert shown(found) == [("BF303", "b.yaml:2:1"), ("BF303", "c.yaml:2:1")]
    assert {str(problem.related[0][0]) for problem in found} == {"a.yaml:2:1"}


def test_ids_that_differ_in_case_are_a_warning(write: Writer) -> None:
    """It is not documented whether the server distinguishes them, so the run continues."""
    config = loader.load(write({"a.yaml": one("a", batch_id="aB"), "b.yaml": one("b", batch_id="Ab")}))
    (warning,) = config.warnings
    assert len(config.batches) == 2
    assert (warning.code, warning.severity, str(warning.place)) == ("BF304", Severity.WARNING, "b.yaml:2:25")
    assert str(warning.related[0][0]) == "a.yaml:2:25"


def test_defaults_hold_for_their_own_file(write: Writer) -> None:
    """No file changes what another declares."""
    files = {
        "a.yaml": "defaults: {hold: true, labels: {x: z}}\n" + one("a", batch_id="A"),
        "b.yaml": one("b", batch_id="B"),
    }
    assert [(batch.hold, batch.labels) for batch in loader.load(write(files)).batches] == [
        (True, {"x": "z"}),
        (False, {}),
    ]


def test_an_anchor_may_be_used_again(write: Writer) -> None:
    """Values and whole mappings."""
    text = "  a: {batch_id: A, labels: &l {x: z}, hold: &h true}\n  b: {batch_id: B, labels: *l, hold: *h}\n"
    first, second = loader.load(write({"f.yaml": f"version: 1\nbatches:\n{text}"})).batches
    assert (first.labels, first.hold) == (second.labels, second.hold)


def test_what_two_aliases_share_is_wrong_only_once(write: Writer) -> None:
    """There is one place to correct."""
    text = "  a: {batch_id: A, labels: &l {x: NO}}\n  b: {batch_id: B, labels: *l}\n"
    assert shown(problems(write({"f.yaml": f"version: 1\nbatches:\n{text}"}))) == [("BF205", "f.yaml:3:35")]


NAMES = st.text("abcXYZ019", min_size=1, max_size=4).map(lambda tail: f"n{tail}")
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "records": st.integers(0, 10_000),
        "hold": st.sampled_from(["true", "false"]),
        "description": st.text("ab cé", max_size=8).map(lambda text: f'"{text}"'),
        "not_before": st.just("2026-12-01T06:00:00Z"),
        "labels": st.sampled_from(["{}", "{a: b}", "{a: c, d: e}"]),
    },
)


@given(st.dictionaries(NAMES, FIELDS, max_size=8), st.data())
def test_how_batches_are_spread_over_files_changes_nothing(
    batches: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Any partition into files, given in any order, declares the same batches as one file."""
    lines = [
        f"  {name}: {{batch_id: id-{name}, {', '.join(f'{key}: {value}' for key, value in batch.items())}}}\n"
        for name, batch in batches.items()
    ]
    head = "version: 1\nbatches:\n"
    parts: dict[str, str] = {}
    for line in lines:
        name = data.draw(st.sampled_from(["p.yaml", "q.yaml", "r.yaml"]))
        parts[name] = parts.get(name, head) + line
    for name, text in {"whole.yaml": head + "".join(lines) if lines else "version: 1\n", **parts}.items():
        with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123  the working directory is the test's own
            file.write(text)
    whole = loader.load(["whole.yaml"]).batches
    spread = loader.load(data.draw(st.permutations(list(parts)))).batches
    nowhere = Place(file="", line=1, column=1, end_line=1, end_column=1)
    assert [replace(batch, place=nowhere) for batch in spread] == [replace(batch, place=nowhere) for batch in whole]


# --- the room itself -------------------------------------------------------------------------------------------------


def test_codes_are_unique_and_summaries_fixed() -> None:
    """People search for them and write CI rules with them."""
    codes = [code.value[0] for code in Code]
    assert len(set(codes)) == len(Code) == len({code.value[1] for code in Code})
    assert codes == sorted(codes)


def test_importing_costs_neither_yaml_nor_jsonschema() -> None:
    """A command that reads no configuration does not wait for them."""
    script = (
        "import sys; from batchform.config import loader, schema; "
        "assert not {'yaml', 'jsonschema'} & set(sys.modules); "
        "loader.load([sys.argv[1]]); assert {'yaml', 'jsonschema'} < set(sys.modules)"
    )
    with open("f.yaml", "w", encoding="utf-8") as file:  # noqa: PTH123  the working directory is the test's own
        file.write("version: 1\n")
    subprocess.run([sys.executable, "-c", script, "f.yaml"], check=True, env=os.environ)


def test_keys_of_ones_own_at_the_top_are_not_read(write: Writer) -> None:
    """They can hold what aliases share, in any form and in each file. What an alias uses is judged."""
    one = """\
version: 1
x-labels: &labels {team: crm}
x-any: [1, {a: 2026-11-23}, no, 0x10, null]
batches:
  a: {batch_id: "1", labels: *labels}
"""
    other = 'version: 1\nx-labels: &wrong {team: [crm]}\nbatches:\n  b: {batch_id: "2"}\n'
    config = loader.load(write({"one.yaml": one, "other.yaml": other}))
    assert [(batch.name, dict(batch.labels)) for batch in config.batches] == [("a", {"team": "crm"}), ("b", {})]
    assert config.warnings == ()
    used = other.replace('"2"}', '"2", labels: *wrong}')
    assert shown(problems(write({"used.yaml": used}))) == [("BF204", "used.yaml:2:25")]


@pytest.mark.parametrize("text", ["X-a: 1", "xa: 1", "batches:\n  a: {batch_id: '1', x-a: 1}", "guards: {x-a: 1}"])
def test_other_unknown_keys_stay_errors(write: Writer, text: str) -> None:
    """Keys of one's own are at the top only: below, one could be a misspelt setting."""
    assert [code for code, _ in shown(problems(write({"f.yaml": f"version: 1\n{text}\n"})))] == ["BF202"]
