"""The rules of ARCHITECTURE.md that no other tool checks.

Which module may import what, what pure modules may not use, where code may branch on a reason, that each cited heading
of CONTRACT.md exists, and that the page names the modules that there are. import-linter checks the order of the layers.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in sorted((ROOT / "src" / "batchform").rglob("*.py"))
}

OWNERS: Final = {
    "boto3": "state.objects",
    "click": "cli",
    "jsonschema": "config",
    "obstore": "state.objects",
    "pyarrow": "cli.result_files",
    "truststore": "api",
    "urllib3": "api",
    "yaml": "config",
}
"""The one package or module that may import each library. No other library may be imported at all."""

PURE: Final = (
    "api.certificate",
    "api.contract",
    "api.decode",
    "api.pacing",
    "api.piecewise",
    "api.reach",
    "api.refusal",
    "api.results",
    "api.route",
    "approval",
    "charges",
    "doctor",
    "drift",
    "history",
    "errors",
    "estimate",
    "model",
    "notices",
    "plan",
    "planner",
    "protocol",
    "render",
    "simulator.batches",
    "simulator.faults",
    "simulator.tokens",
    "simulator.world",
    "source_text",
    "state.address",
    "state.codec",
    "state.event_codec",
    "state.events",
    "state.known",
    "state.merge",
    "status",
)
"""Modules and packages without clock, file, socket, randomness or thread."""

# fmt: off
PURE_LIBRARY: Final = (
    "__future__", "array", "base64", "binascii", "bisect", "codecs", "collections", "dataclasses", "datetime",
    "email.utils", "enum", "functools", "hashlib", "http.HTTPStatus", "ipaddress", "itertools", "json", "math", "re",
    "signal", "types", "typing", "unicodedata", "urllib.parse", "uuid",
)
"""What pure modules may import of the standard library, but for the names in `FORBIDDEN`."""

FORBIDDEN: Final = {
    "open", "print", "input", "exec", "eval", "__import__", "now", "utcnow", "today", "localtime",
    "make_msgid", "getnode", "uuid1", "uuid4", "read_text", "read_bytes", "write_text", "write_bytes", "unlink",
    "mkdir", "iterdir", "resolve", "touch", "raise_signal", "setitimer", "alarm",
}
# fmt: on

RESULTS: Final = frozenset({"batchform.apply", "batchform.engine", "batchform.fetch"})
"""Modules that are not pure, whose result types `render` shows."""

READ_THE_PAST: Final = ("charges", "cli.history", "estimate", "history", "state")
"""What may read the spending of batches whose entries were deleted."""

MUTABLE: Final = frozenset({"Watch", "World"})
"""Public dataclasses that change: the deadline of an exchange, and the simulated server."""

CITATION: Final = re.compile(r'Source: CONTRACT(?P<headings>(?:(?:,| and)? "[^"]+")*)')


@lru_cache(maxsize=1)
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def within(module: str, *packages: str) -> bool:
    """Whether the module is one of these, or in one of these."""
    return any(f"{module}.".startswith(f"batchform.{package}.") for package in packages)


def imports(source: str, *, at_runtime: bool = False) -> Iterator[str]:
    """Every imported name, with its module: `a.b` for `import a.b` and for `from a import b`."""
    tree = _parsed(source)
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for_types.update(each for part in node.body for each in ast.walk(part))
    for node in ast.walk(tree):
        if at_runtime and node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{each.name}" for each in node.names)


# --- The rules: each returns what breaks it --------------------------------------------------------------------------


def foreign_libraries(module: str, source: str) -> list[str]:
    """Libraries that the module may not import, not even for types."""
    tops = {name.partition(".")[0] for name in imports(source)} - sys.stdlib_module_names - {"batchform"}
    return sorted(top for top in tops if top not in OWNERS or not within(module, OWNERS[top]))


def simulator_imports(module: str, source: str) -> list[str]:
    """What the simulator imports of batchform beside itself: it must not share a bug with what it judges."""
    if not within(module, "simulator"):
        return []
    ours = (name for name in imports(source) if name.startswith("batchform"))
    return [name for name in ours if not within(name, "simulator", "__version__")]


def impure_imports(module: str, source: str) -> list[str]:
    """What a pure module imports at runtime and may not."""
    if not within(module, *PURE):
        return []
    return [name for name in imports(source, at_runtime=True) if not _is_pure(module, name)]


def _is_pure(module: str, name: str) -> bool:
    if name.startswith("batchform."):
        inside = {name, name.rpartition(".")[0]}
        return any(within(each, *PURE) for each in inside) or (within(module, "render") and bool(inside & RESULTS))
    return any(f"{name}.".startswith(f"{each}.") for each in PURE_LIBRARY)


def impure_names(module: str, source: str) -> list[str]:
    """Names in a pure module that stand for a clock, a file, randomness or a process."""
    if not within(module, *PURE):
        return []
    nodes = list(ast.walk(_parsed(source)))
    names = {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
    called = {each.func.attr for each in nodes if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)}
    imported = {name.rpartition(".")[2] for name in imports(source)}
    return sorted((called | imported | names - _bound(nodes)) & FORBIDDEN)


def _bound(nodes: list[ast.AST]) -> set[str]:
    """Names that the module binds itself, such as the argument `now`."""
    stored = {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return stored | {each.arg for each in nodes if isinstance(each, ast.arg)}


def branches_on_reasons(module: str, source: str) -> list[str]:
    """Code that compares a reason, matches on one, or looks something up by one. The simulator has no such reasons."""
    if within(module, "render", "simulator"):
        return []
    deciding: list[ast.AST] = []
    for node in ast.walk(_parsed(source)):
        match node:
            case ast.Compare() | ast.Set() | ast.MatchValue():
                deciding.append(node)
            case ast.Match():
                deciding.append(node.subject)
            case ast.Dict():
                deciding.extend(key for key in node.keys if key is not None)
            case ast.Subscript():
                deciding.append(node.slice)
            case ast.Call(func=ast.Attribute(attr="get") | ast.Name(id="frozenset" | "set")):
                deciding.extend(node.args)
            case _:
                pass
    return sorted({ast.unparse(each) for node in deciding for each in ast.walk(node) if _is_reason(each)})


def _is_reason(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="Reason") | ast.Attribute(attr="Reason")):
            return True
        case ast.Attribute(attr="reason"):
            return True
        case _:
            return False


def unknown_headings(module: str, source: str) -> list[str]:
    """Citations of CONTRACT.md that name no heading of it."""
    headings = set(re.findall(r"^##? (.+)$", (ROOT / "CONTRACT.md").read_text("utf-8"), re.MULTILINE))
    found = []
    for citation in CITATION.finditer(" ".join(source.split())):
        named = re.findall(r'"([^"]+)"', citation["headings"])
        found += [each for each in named or ["no heading"] if each not in headings]
    return found


def uses_of_the_past(module: str, source: str) -> list[str]:
    """Uses of what is kept of deleted entries, which no decision about a start may read."""
    if within(module, *READ_THE_PAST):
        return []
    nodes = ast.walk(_parsed(source))
    kept = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "past"]
    return kept + [name for name in imports(source) if name == "batchform.state.merge.spending"]


def bare_ignores(_: str, source: str) -> list[str]:
    """Ignores without a reason after them."""
    marks = r"#\s*(?:noqa(?:: [A-Z0-9, ]+)?|type: ignore(?:\[[a-z, -]+\])?|pragma: no \w+)"
    return [line.strip() for line in source.splitlines() if re.search(rf"{marks}\s*$", line)]


def mutable_values(_: str, source: str) -> list[str]:
    """Public dataclasses that are not frozen and slotted."""
    found = []
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in MUTABLE:
            made = [each for each in node.decorator_list if re.match(r"(\w+\.)?dataclass\b", ast.unparse(each))]
            found += [node.name for each in made if not {"frozen=True", "slots=True"} <= _options(each)]
    return found


def _options(decorator: ast.expr) -> set[str]:
    return {ast.unparse(each) for each in decorator.keywords} if isinstance(decorator, ast.Call) else set()


RULES: Final[tuple[Callable[[str, str], list[str]], ...]] = (
    foreign_libraries,
    simulator_imports,
    impure_imports,
    impure_names,
    branches_on_reasons,
    unknown_headings,
    uses_of_the_past,
    bare_ignores,
    mutable_values,
)


def test_every_module_keeps_every_rule() -> None:
    """Module by module, so that each is parsed once."""
    found = {(module, rule.__name__): rule(module, source) for module, source in SOURCES.items() for rule in RULES}
    assert {where: broken for where, broken in found.items() if broken} == {}


def test_tests_cite_headings_that_exist() -> None:
    """As the sources do."""
    others = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    assert {str(path): bad for path in others if (bad := unknown_headings("", path.read_text("utf-8")))} == {}


# --- What ARCHITECTURE.md says of the code ---------------------------------------------------------------------------

PAGE: Final = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def drawn() -> dict[str, bool]:
    """The modules and packages in the drawing of the page, and whether each is marked pure."""
    drawing = PAGE.partition("src/batchform/\n")[2].partition("\nschemas/")[0]
    tokens = list(re.finditer(r"^  (?P<top>\w+)(?:\.py|/)|\b(?P<sub>\w+)/:|\b(?P<name>\w+)\.py", drawing, re.MULTILINE))
    ends = [token.start() for token in tokens[1:]] + [len(drawing)]
    found: dict[str, bool] = {}
    top = package = ""
    for token, end in zip(tokens, ends, strict=True):
        if token["top"]:
            name = top = package = token["top"]
        elif token["sub"]:
            name = package = f"{top}.{token['sub']}"
        else:
            name = f"{package}.{token['name']}"
        found[name] = "(pure)" in drawing[token.end() : end]
    return found


def test_the_drawing_has_every_module() -> None:
    """`cli` and `render` stand for their modules."""
    names = [name.removeprefix("batchform.") for name in SOURCES]
    modules = {name.partition(".")[0] if within(f"batchform.{name}", "cli", "render") else name for name in names}
    assert set(drawn()) == modules - {"batchform", "__main__"}


def test_the_drawing_marks_the_pure_modules() -> None:
    """A module that is marked pure is checked, and one that is checked is marked."""
    assert sorted(name for name, is_pure in drawn().items() if is_pure) == sorted(PURE)


def test_the_order_of_the_layers_is_that_of_import_linter() -> None:
    """The page has the layers that the linter checks."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    told = " ".join(PAGE.partition("**Imports point down:** `")[2].partition("`")[0].split())
    assert told == " > ".join(layer.replace(" | ", ", ") for layer in layers)


def test_the_table_of_decisions_names_what_exists() -> None:
    """Every name under "Where is it decided". One without a module is in the module of the name before it."""
    table = PAGE.partition("Where is it decided")[2].partition("\n## ")[0]
    named = 0
    for row in table.splitlines()[4:]:
        source = ""
        for name in re.findall(r"`([A-Za-z_]+(?:\.\w+)*)`", row.rpartition(" | ")[2]):
            if "." in name:
                assert pkgutil.resolve_name(f"batchform.{name}") is not None
                prefixes = [f"batchform.{name[: end.start()]}" for end in re.finditer(r"\.|$", name)]
                source = [SOURCES[prefix] for prefix in prefixes if prefix in SOURCES][-1]
            else:
                assert re.search(rf"\b{name}\b", source), row
            named += 1
    assert named > 60


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "CONTRACT.md", "cassettes/README.md"])
def test_a_page_names_files_and_tests_that_exist(page: str) -> None:
    """In backticks: paths from the root, and tests by the name of their file or function."""
    text = (ROOT / page).read_text("utf-8")
    paths = re.findall(r"`((?:src|tests|schemas|examples|cassettes|requirements|docs|\.github)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    tests = {path.stem: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    functions = {name for source in tests.values() for name in re.findall(r"def (test_\w+)", source)}
    assert set(re.findall(r"`(test_\w+)`", text)) - tests.keys() - functions == set()


@pytest.mark.parametrize(
    ("rule", "module", "planted"),
    [
        (foreign_libraries, "plan", "import click"),
        (foreign_libraries, "plan", "def f():\n    import click  # noqa: PLC0415"),
        (foreign_libraries, "render.words", "from click import style"),
        (foreign_libraries, "render.words", "if TYPE_CHECKING:\n    import click"),
        (foreign_libraries, "cli.apply", "import urllib3.util"),
        (foreign_libraries, "state.codec", "from yaml import safe_load"),
        (foreign_libraries, "simulator.world_file", "import yaml"),
        (foreign_libraries, "cli.validate", "from jsonschema import validators"),
        (foreign_libraries, "cli.main", "import requests"),
        (foreign_libraries, "state.remote.lease", "import obstore"),
        (simulator_imports, "simulator.server", "from batchform.model import Service"),
        (simulator_imports, "simulator.world", "from batchform import model"),
        (impure_imports, "protocol", "import time"),
        (impure_imports, "protocol", "from batchform.engine import Threads"),
        (impure_imports, "plan", "from batchform.state import disk"),
        (impure_imports, "plan", "from batchform.state.reader import read"),
        (impure_imports, "render.text.plan", "from batchform.cli import session"),
        (impure_imports, "render.text.plan", "def f():\n    import os  # noqa: PLC0415"),
        (impure_imports, "simulator.world", "from random import random"),
        (impure_imports, "api.contract", "import http.client"),
        (impure_imports, "state.events", "import threading"),
        (impure_imports, "state.merge", "import secrets"),
        (impure_imports, "status", "import socket"),
        (impure_imports, "model", "from pathlib import Path"),
        (impure_names, "protocol", "time.time()\nimport datetime\ndatetime.datetime.now()"),
        (impure_names, "plan", "def f(now):\n    return datetime.now(UTC)"),
        (impure_names, "drift", "date.today()"),
        (impure_names, "render.words", "def f(path):\n    with open(path) as stream:\n        return stream.read()"),
        (impure_names, "render.words", "def f(path: Path) -> str:\n    return path.read_text()"),
        (impure_names, "state.known", "def f(path: Path) -> str:\n    return path.open('w')"),
        (impure_names, "simulator.world", "from uuid import uuid4"),
        (impure_names, "errors", "print('x')"),
        (branches_on_reasons, "drift", "x = change.reason is Reason.NEW"),
        (branches_on_reasons, "apply", "x = why in {Reason.NEW, Reason.RETRY}"),
        (branches_on_reasons, "cli.apply", "x = SOME[change.reason]"),
        (branches_on_reasons, "cli.apply", "x = before.reason == one.change.reason"),
        (branches_on_reasons, "status", "match x:\n    case plan.Reason.NEW:\n        pass"),
        (branches_on_reasons, "status", "match change.reason:\n    case _:\n        pass"),
        (branches_on_reasons, "status", "x = {Reason.NEW: 1}"),
        (branches_on_reasons, "watch", "x = frozenset((Reason.NEW,))"),
        (branches_on_reasons, "watch", "x = SOME.get(change.reason)"),
        (branches_on_reasons, "cli.plan", "x = REASONS[left_out[0].reason].next"),
        (unknown_headings, "model", '"""Source: CONTRACT "The other five operations"."""'),
        (unknown_headings, "model", '"""Source: CONTRACT "Start" and\n    "Money"."""'),
        (unknown_headings, "model", '"""Source: CONTRACT, operation create."""'),
        (uses_of_the_past, "plan", "x = state.past"),
        (uses_of_the_past, "apply", "from batchform.state.merge import spending"),
        (bare_ignores, "plan", "import click  # noqa: PLC0415"),
        (bare_ignores, "plan", "import click  # noqa"),
        (bare_ignores, "plan", "x = 1  # type: ignore[assignment]  # noqa: F841, E501"),
        (bare_ignores, "plan", "x = 1  # pragma: no cover"),
        (mutable_values, "plan", "@dataclass\nclass A:\n    pass"),
        (mutable_values, "plan", "@dataclass(frozen=True)\nclass A:\n    pass"),
        (mutable_values, "plan", "@dataclasses.dataclass(slots=True)\nclass A:\n    pass"),
    ],
)
def test_a_planted_break_is_found(rule: Callable[[str, str], list[str]], module: str, planted: str) -> None:
    """With a `noqa`, inside a function, and inside the real module."""
    name = f"batchform.{module}"
    assert rule(name, planted)
    assert rule(name, f"{SOURCES[name]}\n{planted}\n")


@pytest.mark.parametrize(
    ("rule", "module", "allowed"),
    [
        (foreign_libraries, "cli.import_", "import click"),
        (foreign_libraries, "api.client", "import urllib3"),
        (foreign_libraries, "config.loader", "import yaml, jsonschema"),
        (simulator_imports, "cli.simulator", "from batchform.model import Service"),
        (impure_imports, "engine", "import time, threading"),
        (impure_imports, "plan", "if TYPE_CHECKING:\n    from pathlib import Path"),
        (impure_names, "plan", "def plan(now):\n    return now + now"),
        (branches_on_reasons, "plan", "def f():\n    return Action.START, Reason.NEW"),
        (branches_on_reasons, "render.words", "x = change.reason is Reason.NEW"),
        (unknown_headings, "model", '"""Source: CONTRACT "Start", "28 days" (for phone only)."""'),
        (uses_of_the_past, "history", "from batchform.state.merge import spending"),
        (bare_ignores, "plan", "import click  # noqa: PLC0415  # only with a terminal"),
        (bare_ignores, "plan", "x = 1  # pragma: no cover - mypy needs it"),
        (mutable_values, "plan", "@dataclass(frozen=True, slots=True)\nclass A:\n    pass"),
        (mutable_values, "plan", "@dataclass\nclass _A:\n    pass"),
    ],
)
def test_what_is_allowed_is_not_found(rule: Callable[[str, str], list[str]], module: str, allowed: str) -> None:
    """The rules are no wider than they say."""
    assert rule(f"batchform.{module}", allowed) == []
