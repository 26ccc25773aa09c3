"""The pictures of README show the output of today."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.pictures import FOLDER, drawn


def test_the_pictures_are_what_the_program_prints() -> None:
    """`./run pictures` renews them. They are small, and well-formed, as browsers demand."""
    pictures = drawn()
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == pictures
    for picture in pictures.values():
        assert len(picture) < 60_000
        shown = " ".join("".join(ET.fromstring(picture).itertext()).split())  # our own text
        assert "16,700 records" in shown
        assert "flaky-service" in shown


def test_readme_shows_each_picture() -> None:
    """One for each theme."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    named = re.findall(r'(srcset|src)="docs/(\w+)-(\w+)\.svg"', text)
    assert named == [
        ("srcset", "plan", "dark"),
        ("src", "plan", "light"),
        ("srcset", "comment", "dark"),
        ("src", "comment", "light"),
    ]
