"""What may stand in `--state`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.errors import UsageError
from batchform.state.address import Branch, Bucket, parse_address


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/batchform.state.json",
        "s3://my-bucket.example/path/to/state.json",
        "gs://bucket/key",
        "az://container/a/b=c/d+e",
        "git:batchform-state",
        "git:states/prod_1",
    ],
)
def test_an_address_is_shown_as_it_was_given(text: str) -> None:
    """It holds nothing that is not shown."""
    address = parse_address(text)
    assert isinstance(address, Bucket | Branch)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "batchform.state.json", "/a/b.json", "../x", "s3", "s3/bucket/key", "a:b", "git", "C:\\state.json"]
)
def test_all_else_is_a_file(text: str) -> None:
    """Whatever is not meant as an address."""
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://host/state", "accepts a file"),
        ("S3://bucket/key", "accepts a file"),
        ("file:///state", "accepts a file"),
        ("s3:bucket/key", "Write it as `s3://bucket/path"),
        ("s3:/bucket/key", "Write it as"),
        ("s3://", "The bucket has"),
        ("s3:///key", "The bucket has"),
        ("s3://b/key", "The bucket has"),
        ("s3://Bucket/key", "The bucket has"),
        ("s3://buc..ket/key", "The bucket has"),
        ("s3://bucket", "Write `s3://bucket/batchform.state.json`"),
        ("s3://bucket/", "Write `s3://bucket/batchform.state.json`"),
        ("s3://bucket/a//b", "between single slashes"),
        ("s3://bucket/a/", "between single slashes"),
        ("s3://bucket/state.json.journal", "Name the state"),
        ("gs://bucket/state.json.backup", "Name the state"),
        ("s3://bucket/../other/key", "No part of the key"),
        ("s3://bucket/a b", "The key has letters"),
        ("s3://bucket/a\x1bb", "The key has letters"),
        ("s3://bucket/" + "k" * 901, "at most 900"),
        ("s3://user:topsecret@bucket/key", "user name or a password"),
        ("s3://bucket/key?sig=topsecret", "`?` and `#`"),
        ("az://container/key#topsecret", "`?` and `#`"),
        ("git:", "Write `git:BRANCH`"),
        ("git:-b", "Write `git:BRANCH`"),
        ("git:a..b", "Write `git:BRANCH`"),
        ("git:a b", "Write `git:BRANCH`"),
        ("git:a.lock", "Write `git:BRANCH`"),
        ("git:a/../x", "Write `git:BRANCH`"),
        ("git:refs/heads/x", "Write the name of a branch"),
        ("git:HEAD", "Write the name of a branch"),
        ("git:user:topsecret@host", "Write `git:BRANCH`"),
    ],
)
def test_what_is_meant_as_an_address_and_is_none_is_refused(text: str, says: str) -> None:
    """The message says what is wrong, and repeats nothing that may be secret."""
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert says in caught.value.detail
    assert "topsecret" not in caught.value.detail


@given(st.text())
def test_nothing_else_comes_out(text: str) -> None:
    """Any text is a file, an address that reads the same, or refused."""
    try:
        address = parse_address(text)
    except UsageError:
        return
    assert address is None or str(address) == text
