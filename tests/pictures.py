"""`./run pictures`: draws the pictures of README into docs/.

They show the real output for the demo's batches, at a fixed time: `batchform plan` in a terminal, and the comment that
`plan --markdown` writes, as GitHub shows it. SVG, because text stays sharp and small. The comment is HTML inside the
SVG: a browser lays it out, as it does on GitHub.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

from batchform.cli import demo, session
from batchform.cli.main import main
from batchform.render.escape import width
from batchform.simulator import from_values, serve

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parents[1] / "docs"
COLUMNS: Final = 92
NOW: Final = datetime(2026, 11, 23, 9, tzinfo=UTC)

_ADVANCE, _LINE, _MARGIN = 7.8, 20, 20  # pixels: a column, a line, the space around the text
_WIDE: Final = 820  # pixels: the comment
_SGR: Final = re.compile(r"\x1b\[([0-9]+)m")

LIGHT: Final = {
    "back": "#ffffff",
    "bar": "#f6f8fa",
    "border": "#d1d9e0",
    "text": "#1f2328",
    "faint": "#59636e",
    "code": "#eff1f3",
    "31": "#cf222e",
    "32": "#116329",
    "33": "#845306",
    "36": "#1b6e78",
}
DARK: Final = {
    "back": "#0d1117",
    "bar": "#151b23",
    "border": "#3d444d",
    "text": "#f0f6fc",
    "faint": "#9198a1",
    "code": "#2a313c",
    "31": "#ff7b72",
    "32": "#3fb950",
    "33": "#d29922",
    "36": "#39c5cf",
}
"""The colours of GitHub's two themes. A number is the parameter of a terminal's colour."""


class _Stopped:
    """A clock whose time of day stands still."""

    def monotonic(self) -> float:
        """Seconds that never decrease."""
        return time.monotonic()

    def now(self) -> datetime:
        """Always the same time."""
        return NOW


def outputs() -> tuple[str, str]:
    """What a terminal shows for `batchform plan` after a refresh, and the comment of the same plan."""
    world = from_values(demo._world())
    with tempfile.TemporaryDirectory() as name, serve(world, clock=NOW.timestamp) as url:
        folder = Path(name)
        (folder / "batchform.yaml").write_text(demo._BATCHES, encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG"}}
        settings = {"BATCHFORM_ENDPOINT": url, "BATCHFORM_AUTH_TOKEN": demo._TOKEN}
        look = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}

        def run(*words: str) -> str:
            ended = subprocess.run(
                [sys.executable, "-m", "tests.pictures", *words],
                cwd=folder,
                env={**kept, **settings, **look, "PYTHONPATH": str(FOLDER.parent)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=True,
            )
            return ended.stdout.decode()

        run("refresh")
        shown = run("plan", "--markdown", "comment.md")
        return f"\x1b[2m$ \x1b[0mbatchform plan\n{shown}", (folder / "comment.md").read_text(encoding="utf-8")


def drawn() -> dict[str, str]:
    """The pictures by their file names."""
    shown, comment = outputs()
    return {
        f"{name}-{theme}.svg": picture
        for theme, colours in (("light", LIGHT), ("dark", DARK))
        for name, picture in (("plan", terminal(shown, colours)), ("comment", conversation(comment, colours)))
    }


def terminal(text: str, colours: Mapping[str, str]) -> str:
    """A terminal with this coloured text."""
    lines = text.rstrip("\n").split("\n")
    wide, high = round(COLUMNS * _ADVANCE) + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN + 24
    back, border, font = colours["back"], colours["border"], "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
    parts = [
        f'<rect x=".5" y=".5" width="{wide - 1}" height="{high - 1}" rx="8" fill="{back}" stroke="{border}"/>',
        *(f'<circle cx="{22 + 18 * n}" cy="20" r="5.5" fill="{border}"/>' for n in range(3)),
        f'<g font-family="{font}" font-size="13" fill="{colours["text"]}">',
    ]
    for number, line in enumerate(lines):
        column, y = 0, _MARGIN + 24 + number * _LINE + 13
        _, *coloured = _SGR.split(f"\x1b[0m{line}")
        for code, piece in zip(coloured[::2], coloured[1::2], strict=True):
            look = {"1": ' font-weight="bold"', "2": f' fill="{colours["faint"]}"'}.get(code, "")
            look = f' fill="{colours[code]}"' if code in colours else look
            for words in re.finditer(r"\S+(?: \S+)*", piece):  # the place of each is exact, whatever the font
                x, long = _MARGIN + (column + width(piece[: words.start()])) * _ADVANCE, width(words[0]) * _ADVANCE
                parts.append(
                    f'<text x="{x:.1f}" y="{y}" textLength="{long:.1f}" lengthAdjust="spacingAndGlyphs"{look}>'
                    f"{escape(words[0], quote=False)}</text>"
                )
            column += width(piece)
    return _svg(wide, high, _SGR.sub("", lines[0]), "\n".join([*parts, "</g>"]))


def conversation(markdown: str, colours: Mapping[str, str]) -> str:
    """The comment on a pull request, as GitHub shows it."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    body = re.sub(r' style="text-align:(\w+)"', r' class="\1"', body)
    seen = re.sub("<details>.*?</details>", "<details>", body, flags=re.DOTALL)
    high = 58 + 37 * len(re.findall("<(?:h3|p|table|details)>", seen)) + 34 * seen.count("<tr>")  # and a little more
    style = f"""
.box {{ border: 1px solid {colours["border"]}; border-radius: 6px; background: {colours["back"]};
  color: {colours["text"]}; font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }}
.bar {{ padding: 8px 16px; background: {colours["bar"]}; border-bottom: 1px solid {colours["border"]};
  border-radius: 6px 6px 0 0; color: {colours["faint"]} }}
.bar b {{ color: {colours["text"]} }}
.bar i {{ border: 1px solid {colours["border"]}; border-radius: 2em; padding: 0 7px; font: 12px/1.5 inherit;
  font-style: normal }}
.body {{ padding: 16px }}
.body > :last-child {{ margin-bottom: 0 }}
h3 {{ font-size: 1.25em; line-height: 1.25; margin: 0 0 16px }}
p, table, details {{ margin: 0 0 16px }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid {colours["border"]}; padding: 6px 13px; text-align: left }}
.right {{ text-align: right }}
tr:nth-child(2n) td {{ background: {colours["bar"]} }}
code {{ background: {colours["code"]}; border-radius: 6px; padding: .2em .4em;
  font: 85% ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
sub {{ font-size: 75% }}
"""
    html = (
        f"<style>{style}</style>\n"
        f'<foreignObject width="{_WIDE}" height="{high}">\n<div xmlns="http://www.w3.org/1999/xhtml" class="box">\n'
        '<div class="bar"><b>github-actions</b> <i>bot</i> commented</div>\n'
        f'<div class="body">\n{body.strip()}\n</div>\n</div>\n</foreignObject>'
    )
    return _svg(_WIDE, high, "The comment on a pull request", html)


def _svg(wide: int, high: int, title: str, body: str) -> str:
    size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return f"{head}\n<title>{escape(title)}</title>\n{body}\n</svg>\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        session.clock = _Stopped()
        main()
    FOLDER.mkdir(exist_ok=True)
    for file, picture in drawn().items():
        (FOLDER / file).write_text(picture, encoding="utf-8")
