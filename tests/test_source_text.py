"""The text of a file: places, offsets and bytes agree, in texts of any shape."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from batchform.source_text import SourceText

TEXTS = st.one_of(
    st.text(st.sampled_from("ab\n\r\té😀\udcff"), max_size=40),
    st.text(st.sampled_from("a\n"), min_size=1000, max_size=3000),
    st.integers(1000, 5000).map(lambda length: "é" * length),
    st.integers(1000, 5000).map(lambda length: "\n" * length),
)


@given(TEXTS, st.booleans(), st.data())
def test_a_place_leads_back_to_its_offset(text: str, bom: bool, data: st.DataObject) -> None:  # noqa: FBT001  hypothesis hands it over
    """Line and column are those of the plain count, and the bytes before it those of the file."""
    source = SourceText("f", ("\ufeff" if bom else "") + text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    place = source.place(start, end)
    before = text[:start].split("\n")
    assert (place.line, place.column) == (len(before), len(before[-1]) + 1)
    assert source.offset(place.line, place.column) == start
    assert source.offset(place.end_line, place.end_column) == end
    assert source.byte(start) == 3 * bom + len(text[:start].encode(errors="surrogateescape"))


@given(TEXTS, st.integers(1, 10_000), st.integers(1, 10_000))
def test_no_place_leads_out_of_the_text(text: str, line: int, column: int) -> None:
    """Should the place be that of another text."""
    assert 0 <= SourceText("f", text).offset(line, column) <= len(text)


def test_many_places_cost_the_same_in_one_line_and_in_millions() -> None:
    """A file of 16 MiB may be either, and have problems at its end."""
    for text in ("x" * (4 << 20), "\n" * (4 << 20)):
        source = SourceText("f", text)
        began = time.process_time()
        for number in range(1000):
            place = source.place(len(text) - number, len(text))
            source.offset(place.line, place.column)
        assert time.process_time() - began < 1
