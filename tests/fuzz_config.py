"""Malformed configurations through `batchform validate`: python tests/fuzz_config.py [--count N] [--seed S].

Each input is a file, and each run ends as a user would see it: exit 0 or 1, no traceback and no message about a bug,
every problem at a place inside the file, in less than a second of processor time and 100 MB. The form (text, JSON,
workflow commands) changes from input to input.

How real it is: one input in fifty goes through the installed command, a new interpreter with nothing loaded. The
others go through the same `main()` in a process of their own, forked from an interpreter that has imported the
package: the same code, exit code, streams and limits, without the 0.2 s of starting up. A crash of the interpreter ends
only that process, and is seen by its exit. Memory is that of the whole process, what it was forked with counted.

The same seed makes the same inputs, one by one: `--only NUMBER` makes and runs that one again and prints what came.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
CORPUS = [
    path.read_bytes()
    for path in sorted([*ROOT.glob("examples/*/*.yaml"), *ROOT.glob("tests/invalid/*/*.y*ml")])
    if path.stat().st_size < 20_000
]
FORMS = ("text", "json", "github")
SECONDS, KILOBYTES = 1.0, 100 * 1024
REAL = 50
"""One input in so many goes through a new interpreter."""

TOKENS = (
    *(
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\x1b[2J",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
    ),
    *(b"---\n", b"...\n", b"%YAML 1.1\n", b"%TAG ! x\n", b"? ", b": ", b":", b"- ", b"[", b"]", b"{", b"}", b"{{ x }}"),
    *(b",", b"&a ", b"*a", b"*b ", b"!!str ", b"!!python/object:os.system ", b"!<", b"<<: ", b"|\n", b">-\n", b"|9\n"),
    *(b"'", b'"', b'"\\x', b'"\\u12', b"#", b"@", b"`", b"%", b"~", b"null", b"NO", b"0x1F", b"1e5", b"12:30:45"),
    *(b".inf", b"9" * 400, b"2026-02-30T00:00:00Z", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59"),
    *(b"version: 1\n", b"batches:\n", b"batch_id: x\n", b"not_before: 2026-12-01T06:00:00Z\n", b"labels: {a: b}\n"),
    *(b"defaults: &a {hold: true}\n", b"::error::x", b"##[group]", b"\xf0\x9f\x98\x80", b"e" + b"\xcc\x81" * 4),
    *(b"<<<<<<< HEAD\n", b"submitted_at: 9999-12-20T00:00:00Z\n"),
)
"""What YAML, terminals and CI logs stumble over."""


def malformed(seed: int, number: int) -> bytes:
    """Input `number` of `seed`."""
    rng = random.Random(f"{seed}/{number}")
    return rng.choices(MAKERS, weights=WEIGHTS)[0](rng)


def mutated(rng: random.Random) -> bytes:
    """A file of the corpus with one to eight wounds."""
    data = rng.choice(CORPUS)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(WOUNDS)(rng, data)
    return data[:200_000]


def spliced(rng: random.Random) -> bytes:
    """The beginning of one file and the end of another."""
    first, second = rng.choice(CORPUS), rng.choice(CORPUS)
    return first[: rng.randint(0, len(first))] + second[rng.randint(0, len(second)) :]


def soup(rng: random.Random) -> bytes:
    """Tokens in any order."""
    return b"".join(rng.choices(TOKENS, k=rng.choice((2, 5, 20, 200))))


def noise(rng: random.Random) -> bytes:
    """Random bytes."""
    return rng.randbytes(rng.choice((1, 10, 100, 5_000)))


def repeated(rng: random.Random) -> bytes:
    """One token again and again: what costs more than its length would show."""
    token = rng.choice(TOKENS) + (rng.choice(TOKENS) if rng.random() < 0.5 else b"")
    return token * rng.choice((50, 500, 5_000))


def ladder(rng: random.Random) -> bytes:
    """Aliases of aliases."""
    width, height = rng.randint(2, 12), rng.randint(2, 20)
    lines = [b"version: 1", b"l0: &l0 [" + b"x, " * width + b"x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]".encode() for n in range(1, height)]
    return b"\n".join(lines)


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _delete(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 1, 2, 10, 100)) :]


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    line = lines[at]
    change = rng.randrange(5)
    if change == 0:
        lines.insert(rng.randint(0, len(lines)), line)
    elif change == 1:
        lines[at] = b" " * rng.randint(1, 5) + line
    elif change == 2:
        lines[at] = line.lstrip(b" ")
    elif change == 3:
        lines[at] = b""
    else:
        rng.shuffle(lines)
    return b"".join(lines)


def _value(rng: random.Random, data: bytes) -> bytes:
    return re.sub(rb"(?<=: )[^\n]*", lambda old: rng.choice((old[0], rng.choice(TOKENS))), data)


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


WOUNDS: Sequence[Callable[[random.Random, bytes], bytes]] = (_insert, _delete, _flip, _lines, _value, _truncate)
MAKERS: Sequence[Callable[[random.Random], bytes]] = (mutated, spliced, soup, noise, repeated, ladder)
WEIGHTS = (60, 10, 10, 10, 7, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one run ended: `code` negative for a signal, `seconds` of processor time, `kilobytes` at most."""

    code: int
    out: str
    err: str
    seconds: float
    kilobytes: int


def run(folder: Path, form: str, *, new_interpreter: bool) -> Ended:
    """Validate `batchform.yaml` of `folder` in a process of its own."""
    process = os.fork()
    if not process:
        _child(folder, form, new_interpreter=new_interpreter)
    _, status, used = os.wait4(process, 0)
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        out=(folder / "out").read_text(encoding="utf-8", errors="surrogateescape"),
        err=(folder / "err").read_text(encoding="utf-8", errors="surrogateescape"),
        seconds=used.ru_utime + used.ru_stime,
        kilobytes=used.ru_maxrss // (1024 if sys.platform == "darwin" else 1),
    )


def _child(folder: Path, form: str, *, new_interpreter: bool) -> None:
    """Become the command. Never returns."""
    try:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        for number, name in ((1, "out"), (2, "err")):
            opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
        words = ["validate", "--format", form]
        for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "BATCHFORM_LOG", "GITHUB_WORKSPACE"):
            os.environ.pop(name, None)
        if new_interpreter:
            os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", "batchform", *words])
        from batchform.cli.main import main  # noqa: PLC0415  # loaded by the parent already

        sys.argv = ["batchform", *words]
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    except BaseException:  # noqa: BLE001  # the parent sees that main() let something out
        os._exit(99)


_HEAD = re.compile(r"^(?:Error|Warning): batchform\.yaml:[0-9]+:[0-9]+: [^\n]*\[BF[0-9]{3}\]$")
_COMMAND = re.compile(r"^::(?:error|warning) file=batchform\.yaml,line=[0-9]+,col=[0-9]+,endLine=[0-9]+[^\n]*::.+$")


def faults(ended: Ended, form: str, data: bytes) -> Iterator[str]:
    """What a run did that it must not."""
    if ended.code not in {0, 1}:
        yield f"exit {ended.code}"
    if "Traceback" in ended.err or "bug in batchform" in ended.err or "Fatal Python" in ended.err:
        yield "a traceback"
    if ended.seconds > SECONDS:
        yield f"{ended.seconds:.2f} s"
    if ended.kilobytes > KILOBYTES:
        yield f"{ended.kilobytes / 1024:.0f} MB"
    shown = list(places(ended, form))
    if ended.code == 1 and not shown:
        yield "an error without a place"
    lines = data.decode(errors="replace").count("\n") + 1
    if any(place is None or not 1 <= place[0] <= lines or place[1] < 1 for place in shown):
        yield "a problem without a place inside the file"


def places(ended: Ended, form: str) -> Iterator[tuple[int, int] | None]:
    """Line and column of each problem that was shown; None for one without, or not in its form."""
    if form == "json":
        for entry in json.loads(ended.out)["diagnostics"]:
            start = entry["range"] and entry["range"]["start"]
            yield (start["line"], start["column"]) if start and start["byte"] >= 0 and entry["snippet"] else None
    elif form == "github":
        for line in ended.out.splitlines():
            if not line.startswith("::notice "):
                yield _place(line, r"line=(\d+),col=(\d+)") if _COMMAND.match(line) else None
    else:
        for line in ended.err.splitlines():
            if line.startswith(("Error: ", "Warning: ")):
                yield _place(line, r":(\d+):(\d+): ") if _HEAD.match(line) else None


def _place(line: str, pattern: str) -> tuple[int, int]:
    match = re.search(pattern, line)
    assert match
    return int(match[1]), int(match[2])


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def main() -> int:
    """Run them all; 1 if one did what it must not."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("--count", type=int, default=10_000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--only", type=int, help="make and run this one again, and print what came")
    given = words.parse_args()
    from batchform.cli import main as _command  # noqa: F401, PLC0415  # what the forked processes begin with
    from batchform.cli import validate as _validate  # noqa: F401, PLC0415  # the same
    from batchform.config import judge as _judge  # noqa: F401, PLC0415  # the same
    from batchform.render import github  # noqa: F401, PLC0415  # the same
    from batchform.render.documents import diagnostics  # noqa: F401, PLC0415  # the same
    from batchform.render.text import problems  # noqa: F401, PLC0415  # the same
    import yaml  # noqa: F401, PLC0415  # the same  # isort: skip

    began, codes, forms, bad = time.monotonic(), Counter[int](), Counter[str](), 0
    slowest, largest, real = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in [given.only] if given.only is not None else range(given.count):
            data, form, new = malformed(given.seed, number), FORMS[number % 3], number % REAL == 0
            (folder / "batchform.yaml").write_bytes(data)
            ended = run(folder, form, new_interpreter=new)
            if found := list(faults(ended, form, data)):
                bad += 1
                say(f"input {number} ({form}): {', '.join(found)}")
            if given.only is not None:
                say(f"--- {form}, exit {ended.code}\n{ended.out}{ended.err}--- the input\n{data!r}")
            codes[ended.code] += 1
            forms[form] += 1
            real += new
            slowest, largest = max(slowest, ended.seconds), max(largest, ended.kilobytes)
    say(
        f"{sum(forms.values()):,} inputs, {real:,} of them through a new interpreter (seed {given.seed}):"
        f" {codes[1]:,} refused, {codes[0]:,} accepted, {bad:,} faults; at most {slowest:.2f} s and"
        f" {largest / 1024:.0f} MB each; {time.monotonic() - began:.0f} s in all."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
