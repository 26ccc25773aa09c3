"""A local stand-in for GitHub Actions: enough of a runner to execute the shipped workflows as they stand.

Real are git and its bare repository, bash, the scripts, the steps of the action, batchform and its exit codes, the
files that a step writes for later steps, and jq. A clone replaces `actions/checkout`, a copy `actions/upload-artifact`,
and a script over a folder `gh` (`fake_gh.py`). pip only writes its arguments into `pip.log`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
FAST = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" "{ROOT}/tests/e2e/leased.py" 300 25'
"""batchform with faster clocks, and without pauses between pushes."""

EXAMPLE = ROOT / "examples" / "github-actions"
ACTION = "your-organisation/batchform@"


def git(folder: Path, *words: str) -> str:
    """Run git and return its output."""
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main", *words],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def clean_environment() -> dict[str, str]:
    """An environment without the variables of a surrounding CI job, and without a git configuration."""
    keep = ("PATH", "LANG", "COVERAGE_PROCESS_START")
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(slots=True)
class Forge:
    """A bare repository, the data of the fake `gh`, the artefacts, and tools that replace the real ones."""

    folder: Path
    endpoint: str
    token: str

    @property
    def bare(self) -> Path:
        """The repository that all clones push to."""
        return self.folder / "origin.git"

    @property
    def hub(self) -> Path:
        """The folder of the fake `gh`."""
        return self.folder / "hub"

    def tools(self) -> Path:
        """A folder of stand-ins: python3 (whose pip installs nothing), batchform and gh."""
        folder = self.folder / "tools"
        if not folder.exists():
            folder.mkdir()
            _script(folder / "batchform", f'{FAST} "$@"')
            _script(
                folder / "pip",
                'for word; do case $word in */*) [ -e "$word" ] || exit 1 ;; esac; done\n'
                f'{{ printf "%s\\t" "$@" && echo; }} >>"{self.folder}/pip.log"',
            )
            _script(
                folder / "python3",
                'case "$1 $2" in\n'
                f'"-m venv") mkdir -p "$3/bin" && cp "{folder}/batchform" "$3/bin/" &&'
                f' cp "{folder}/pip" "$3/bin/python" ;;\n'
                f'"-m pip") exec "{folder}/pip" "$@" ;;\n'
                f'*) exec "{sys.executable}" "$@" ;;\nesac',
            )
            _script(
                folder / "gh", f'exec "{sys.executable}" "{Path(__file__).with_name("fake_gh.py")}" "{self.hub}" "$@"'
            )
        return folder

    def installations(self) -> list[list[str]]:
        """The arguments of each `pip install` so far."""
        calls = [line.split("\t")[:-1] for line in (self.folder / "pip.log").read_text(encoding="utf-8").splitlines()]
        assert all(words[:3] == ["-m", "pip", "install"] for words in calls)
        return [words[3:] for words in calls]

    def clone(self, name: str, ref: str = "main") -> Path:
        """Clone the repository and return the folder."""
        git(self.folder, "clone", "--quiet", "--branch", ref, str(self.bare), name)
        return self.folder / name

    def file(self, ref: str, path: str) -> str:
        """Return the content of a file on a branch."""
        return git(self.bare, "show", f"{ref}:{path}")

    def comments(self) -> list[dict[str, Any]]:
        """The comments on the pull request."""
        file = self.hub / "comments.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []

    def workflow(self, name: str) -> dict[Any, Any]:
        """The example's workflow."""
        text = (EXAMPLE / ".github" / "workflows" / f"batchform-{name}.yml").read_text(encoding="utf-8")
        loaded: dict[str, Any] = yaml.safe_load(text)
        return loaded

    def job(
        self, workflow: str, name: str = "", *, event: str, sha: str, run_id: str = "1", fork: bool = False, **more: str
    ) -> Job:
        """Return a job of a workflow, before its first step: the only one, or the one with this name.

        Args:
            workflow: The name of the workflow.
            name: The name of the job.
            event: The name of the event.
            sha: The commit.
            run_id: Identifies the run.
            fork: Whether it is a pull request of a fork.
            more: More contexts, with `__` for each dot and `_` for each hyphen.
        """
        whole = self.workflow(workflow)
        jobs = whole["jobs"]
        found = jobs[name] if name else next(iter(jobs.values()))
        assert name or len(jobs) == 1
        folder = self.folder / f"run-{run_id}{name}"
        (folder / "work").mkdir(parents=True)
        (folder / "temp").mkdir()
        contexts = {
            "github.event_name": event,
            "github.event.pull_request.number": "",
            "github.repository": "org/repo",
            "github.run_id": run_id,
            "github.run_attempt": "1",
            "github.server_url": "https://forge.invalid",
            "github.token": "gh-token",
            "inputs.override-guard": "",
            "secrets.BATCHFORM_AUTH_TOKEN": "" if fork or "environment" not in found else self.token,
            **{key.replace("__", "."): value for key, value in more.items()},
        }
        return Job(
            forge=self,
            steps=found["steps"],
            env={**whole.get("env", {}), **found.get("env", {})},
            folder=folder,
            sha=sha,
            contexts=contexts,
        )


def assert_locked(calls: list[list[str]], *more: str) -> str:
    """Fail unless the locked packages were installed first, then a folder by itself. Return that folder.

    `more` are lock files beside the two that every use needs.
    """
    quiet = {"--quiet", "--disable-pip-version-check"}
    locked, own = ([word for word in words if word not in quiet] for words in calls)
    *options, folder = own
    assert options == ["--no-deps", "--no-build-isolation"]
    files = [word for name in ("runtime", "build", *more) for word in ("-r", f"{folder}/requirements/{name}.txt")]
    assert locked == ["--require-hashes", "--only-binary", ":all:", *files]
    return folder


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@dataclass(slots=True)
class Job:
    """One job: its steps, and their log and outputs so far."""

    forge: Forge
    steps: list[dict[str, Any]]
    env: dict[str, str]
    folder: Path
    sha: str
    contexts: dict[str, str]
    failed: bool = False
    cancelled: bool = False
    log: str = ""
    before: str = ""
    """The summary of the job before, on the same page."""
    paths: list[str] = field(default_factory=list)
    masked: set[str] = field(default_factory=set)
    at: int = 0
    kill_when: Callable[[], None] | None = None
    """Returns when the process of batchform shall be killed, like a job that does not end after its cancellation."""

    @property
    def work(self) -> Path:
        """The workspace."""
        return self.folder / "work"

    @property
    def summary(self) -> str:
        """The summary on the page of the job."""
        file = self.folder / "temp" / "summary"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def run(self, until: str | None = None) -> Job:
        """Run the steps, all or up to the one with this name."""
        while self.at < len(self.steps) and (until is None or self.steps[self.at].get("name") != until):
            self._step(self.steps[self.at], self.contexts, self.work)
            self.at += 1
        return self

    def _step(self, step: Mapping[str, Any], contexts: dict[str, str], cwd: Path) -> None:
        condition = str(step.get("if", "success()"))
        if not self._holds(condition, contexts):
            return
        values = {key: self._text(value, contexts) for key, value in step.get("with", {}).items()}
        uses = step.get("uses", "")
        if uses.startswith("actions/checkout@"):
            self._checkout(values)
        elif uses.startswith("actions/upload-artifact@"):
            self._upload(values)
        elif uses.startswith("actions/download-artifact@"):
            kept = self.forge.hub / "artifacts" / self.contexts["github.run_id"] / values["name"]
            shutil.copytree(kept, self.work, dirs_exist_ok=True)
        elif uses.startswith(ACTION):
            self._action(step, values)
        else:
            assert not uses, f"no replacement for {uses}"
            environment = {key: self._text(value, contexts) for key, value in step.get("env", {}).items()}
            assert "${{" not in step["run"], "inputs must reach a script by the environment"
            self._shell(step, environment, contexts, cwd)

    def _checkout(self, values: Mapping[str, str]) -> None:
        assert set(values) <= {"persist-credentials", "fetch-depth"}
        git(self.folder, "clone", "--quiet", "--no-checkout", self.forge.bare.as_uri(), str(self.work))
        git(self.work, "checkout", "--quiet", "--detach", self.sha)

    def _upload(self, values: Mapping[str, str]) -> None:
        into = self.forge.hub / "artifacts" / self.contexts["github.run_id"] / values["name"]
        paths = [Path(path) for path in values["path"].split("\n") if path.strip()]
        found = [one for path in paths for one in ([path] if path.is_absolute() else self.work.glob(str(path)))]
        found = [path for path in found if path.is_file()]
        assert found or values.get("if-no-files-found") == "ignore" or self.failed, values
        into.mkdir(parents=True, exist_ok=True)
        for path in found:
            shutil.copy(path, into)

    def _action(self, step: Mapping[str, Any], values: Mapping[str, str]) -> None:
        """The composite action at the root of this repository."""
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        unknown = set(values) - set(action["inputs"])
        assert not unknown, unknown
        inner = {key: value for key, value in self.contexts.items() if key.startswith("github.")}
        inner |= {f"inputs.{key}": self._text(one["default"], inner) for key, one in action["inputs"].items()}
        inner |= {f"inputs.{key}": value for key, value in values.items()}
        inner["github.action_path"] = str(ROOT)
        before, self.failed = self.failed, False  # inside an action, success() is about its own steps
        for one in action["runs"]["steps"]:
            self._step(one, inner, self.work)
        self.failed |= before
        if "id" in step:
            for name, output in action["outputs"].items():
                self.contexts[f"steps.{step['id']}.outputs.{name}"] = self._text(output["value"], inner)

    def _shell(
        self, step: Mapping[str, Any], environment: Mapping[str, str], contexts: dict[str, str], cwd: Path
    ) -> None:
        output = self.folder / "temp" / f"output-{os.urandom(4).hex()}"
        output.touch()
        self.folder.joinpath("temp", "path").touch()
        process = self.begin(step["run"], {**environment, "GITHUB_OUTPUT": str(output)}, cwd)
        if self.kill_when is not None and "\nexec " in step["run"]:
            self.kill_when()
            process.send_signal(signal.SIGKILL)  # this one only: batchform has to be it
            self.cancelled, self.kill_when = True, None
        out, _ = process.communicate(timeout=120)
        self._heard(out)
        self.failed = self.failed or process.returncode != 0
        self.paths = (self.folder / "temp" / "path").read_text(encoding="utf-8").split()
        if "id" in step:
            for name, value in outputs(output.read_text(encoding="utf-8")):
                contexts[f"steps.{step['id']}.outputs.{name}"] = value

    def begin(self, script: str, environment: Mapping[str, str], cwd: Path) -> subprocess.Popen[str]:
        """The script as GitHub runs it: its shell is the first process of the step."""
        file = self.folder / "temp" / "script.sh"
        file.write_text(script, encoding="utf-8")
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(file)],
            cwd=cwd, env={**self.environment(), **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The variables of every step of the job."""
        temp = self.folder / "temp"
        base = clean_environment()
        event = (
            {"pull_request": {"head": {"sha": self.sha}}} if self.contexts["github.event.pull_request.number"] else {}
        )
        (temp / "event.json").write_text(json.dumps(event), encoding="utf-8")
        return {
            **base,
            "PATH": os.pathsep.join([*reversed(self.paths), str(self.forge.tools()), base["PATH"]]),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": self.contexts["github.event_name"],
            "GITHUB_REPOSITORY": self.contexts["github.repository"],
            "GITHUB_SHA": self.sha,
            "GITHUB_SERVER_URL": self.contexts["github.server_url"],
            "GITHUB_RUN_ID": self.contexts["github.run_id"],
            "GITHUB_EVENT_PATH": str(temp / "event.json"),
            "GITHUB_WORKSPACE": str(self.work),
            "GITHUB_STEP_SUMMARY": str(temp / "summary"),
            "GITHUB_PATH": str(temp / "path"),
            "RUNNER_TEMP": str(temp),
            "BATCHFORM_ENDPOINT": self.forge.endpoint,
            **{name: self._text(value, self.contexts) for name, value in self.env.items()},
        }

    def _heard(self, text: str) -> None:
        for line in text.splitlines(keepends=True):
            if line.startswith("::add-mask::"):
                self.masked.add(line.removeprefix("::add-mask::").strip())
            else:
                self.log += line

    # --- expressions ---

    def _text(self, value: Any, contexts: Mapping[str, str]) -> str:
        """A value of the YAML with its expressions filled in."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(self._value(match[1], contexts) or ""), str(value))

    def _holds(self, condition: str, contexts: Mapping[str, str]) -> bool:
        bare = condition.removeprefix("${{").removesuffix("}}")
        if not re.search(r"(always|cancelled|failure|success)\(\)", bare):
            bare = f"success() && ({bare})"
        return bool(self._value(bare, contexts))

    def _value(self, expression: str, contexts: Mapping[str, str]) -> Any:
        """Evaluate a GitHub expression as Python. It supports the expressions in our files, and fails for others."""
        functions = {
            "always": lambda: True,
            "cancelled": lambda: self.cancelled,
            "success": lambda: not self.failed and not self.cancelled,
        }
        words = []
        for word in re.findall(r"'[^']*'|&&|\|\||!(?!=)|[()]|==|!=|[A-Za-z][\w.-]*|\S", expression):
            operator = {"&&": "and", "||": "or", "!": "not"}.get(word)
            if operator or word[0] in "'()=!":
                words.append(operator or word)
            elif word in functions:
                words.append(word)
            else:
                known = word in contexts or re.fullmatch(r"(steps|secrets|vars)\..*", word)
                assert known, f"{word} is not known here"
                words.append(repr(contexts.get(word, "")))
        return eval(" ".join(words), {"__builtins__": {}}, functions)


def outputs(text: str) -> Iterator[tuple[str, str]]:
    """The outputs that a step has set, in both formats."""
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = []
            for inner in lines:
                if inner == match[2]:
                    break
                value.append(inner)
            yield match[1], "\n".join(value)
        else:
            name, _, one = line.partition("=")
            yield name, one
