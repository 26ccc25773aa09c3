"""Stands in for `gh`: `python fake_gh.py FOLDER WORDS...`, over a folder instead of a service. jq is the real one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def option(words: list[str], name: str) -> str | None:
    """Return the value of an option."""
    return words[words.index(name) + 1] if name in words else None


def load(file: Path, otherwise: Any) -> Any:
    """The JSON in a file, or another value if there is no such file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else otherwise


def show(value: Any, words: list[str]) -> None:
    """Print it as `--jq` asks."""
    query = option(words, "--jq")
    text = json.dumps(value)
    if query is None:
        sys.stdout.write(text)
        return
    done = subprocess.run(["jq", "--raw-output", query], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout)


def api(hub: Path, words: list[str]) -> int:
    """Comments, and the pull requests of a commit."""
    if (hub / "read-only").exists() and option(words, "--method"):
        sys.stderr.write("gh: Resource not accessible by integration (HTTP 403)\n")
        return 1
    path = next(word for word in words if word.startswith("repos/")).partition("?")[0]
    comments = load(hub / "comments.json", [])
    method = option(words, "--method")
    if "/commits/" in path:
        show(load(hub / "pulls.json", {}).get(path.split("/")[4], []), words)
        return 0
    if method is None:
        show(comments, words)
        return 0
    body = Path((option(words, "--field") or "").removeprefix("body=@")).read_text(encoding="utf-8")
    assert len(body) <= 65_536
    if method == "POST":
        comments.append({"id": len(comments) + 1, "user": {"type": "Bot"}, "body": body.rstrip("\n")})
    else:
        (one,) = [comment for comment in comments if str(comment["id"]) == path.rsplit("/", 1)[1]]
        one["body"] = body.rstrip("\n")
    (hub / "comments.json").write_text(json.dumps(comments), encoding="utf-8")
    return 0


def run(hub: Path, words: list[str]) -> int:
    """Runs by commit, and their artefacts."""
    if words[0] == "list":
        found = load(hub / "runs.json", {}).get(option(words, "--commit"))
        show([{"databaseId": int(found)}] if found else [], words)
        return 0
    shutil.copytree(hub / "artifacts" / words[1] / (option(words, "--name") or ""), option(words, "--dir") or "")
    return 0


if __name__ == "__main__":
    sys.exit({"api": api, "run": run}[sys.argv[2]](Path(sys.argv[1]), sys.argv[3:]))
