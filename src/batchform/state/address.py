"""What `--state` and `BATCHFORM_STATE` may name besides a file: an object in a store, or a branch. Pure.

Nothing but the location stands in an address. Region, endpoint and credentials come from the environment, so an address
can be shown, saved in a state and compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from batchform.errors import UsageError

_SCHEMES: Final = {"s3": "s3://bucket/path/batchform.state.json", "gs": "gs://bucket/path", "az": "az://container/path"}
_LONGEST: Final = 900
"""Bytes of a key: S3 and Google allow 1,024, and `.journal` comes after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """An object: `s3://bucket/key`, `gs://bucket/key` or `az://container/key`."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch of the `origin` of the present checkout: `git:BRANCH`."""

    name: str

    def __str__(self) -> str:
        return f"git:{self.name}"


Address = Bucket | Branch


def parse_address(text: str) -> Address | None:
    """The address, None where `text` names a local file.

    Raises:
        UsageError: It is meant as an address, and is not a usable one. The message repeats no part that may be secret.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "git":
        return _branch(rest)
    if "://" not in text and not (colon and scheme in _SCHEMES):
        return None
    if scheme not in _SCHEMES:
        raise _unusable(
            "`--state` accepts a file, `git:BRANCH`, `s3://bucket/key`, `gs://bucket/key` or `az://container/key`."
        )
    if not rest.startswith("//"):
        raise _unusable(f"Write it as `{_SCHEMES[scheme]}`.")
    bucket, _, key = rest.removeprefix("//").partition("/")
    if "@" in bucket:
        raise _unusable("It holds a user name or a password. Credentials come from the environment.")
    if "?" in rest or "#" in rest:
        raise _unusable("`?` and `#` are not allowed: region, endpoint and credentials come from the environment.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", bucket, re.ASCII) or ".." in bucket:
        raise _unusable("The bucket has 3 to 63 lower-case letters, digits, `.`, `-` and `_`.")
    if not key:
        raise _unusable(f"The key is missing. Write `{scheme}://{bucket}/batchform.state.json`.")
    if not re.fullmatch(r"[A-Za-z0-9._=+-]+(/[A-Za-z0-9._=+-]+)*", key, re.ASCII) or len(key) > _LONGEST:
        raise _unusable(
            "The key has letters, digits and `. _ = + -` between single slashes, and at most 900 characters."
        )
    if any(set(part) == {"."} for part in key.split("/")):
        raise _unusable("No part of the key is `.` or `..`.")
    if key.endswith((".journal", ".backup")):  # safety: the state of that name would overwrite it
        raise _unusable("A key does not end in `.journal` or `.backup`: these belong to a state. Name the state.")
    return Bucket(scheme=scheme, bucket=bucket, key=key)


def _branch(name: str) -> Branch:
    """The branch. Source: git-check-ref-format, and narrower."""
    parts = name.split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part, re.ASCII) for part in parts)
    if name == "HEAD" or parts[0] == "refs":  # git reads them as something else
        raise _unusable("Write the name of a branch, as in `git:batchform-state`.")
    if not plain or ".." in name or any(part.endswith((".lock", ".")) for part in parts) or len(name) > 200:
        raise _unusable("Write `git:BRANCH`, with letters, digits and `. _ - /`, for example `git:batchform-state`.")
    return Branch(name=name)


def _unusable(why: str) -> UsageError:
    return UsageError("The address of the state is not usable", f"{why} Nothing was sent.")
