"""Reads from a certificate who issued it. Pure. The name goes into messages only: it is not evidence of anything.

Python verifies certificates but does not read one that it refused, so the few fields are read here.

Source: RFC 5280, 4.1 (Certificate) and 4.1.2.4 (Name); X.690 (DER).
"""

from __future__ import annotations

_SEQUENCE, _SET, _VERSION = 0x30, 0x31, 0xA0
_TEXTS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}
_COMMON_NAME, _UNIT, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0b", b"\x55\x04\x0a"
_LIMIT = 200


def issuer_of(der: bytes) -> str:
    """The common name and the organization of the issuer; empty if the bytes cannot be read."""
    try:
        names = _names(_issuer(der))
    except (ValueError, IndexError):
        return ""
    common, organization = names.get(_COMMON_NAME) or names.get(_UNIT, ""), names.get(_ORGANIZATION, "")
    return f"{common} ({organization})" if common and organization else common or organization


def _issuer(der: bytes) -> bytes:
    """The content of the issuer's Name: the third field after the optional version."""
    _, certificate, _ = _value(der, _SEQUENCE)
    _, fields, _ = _value(certificate, _SEQUENCE)
    tag, _, rest = _value(fields)
    if tag == _VERSION:
        _, _, rest = _value(rest)  # the serial number
    _, _, rest = _value(rest)  # the signature's algorithm
    return _value(rest, _SEQUENCE)[1]


def _names(name: bytes) -> dict[bytes, str]:
    """The attributes of a Name by their object identifiers; of a repeated one the first."""
    found: dict[bytes, str] = {}
    while name:
        _, group, name = _value(name, _SET)
        _, attribute, _ = _value(group, _SEQUENCE)
        _, kind, rest = _value(attribute)
        tag, text, _ = _value(rest)
        found.setdefault(kind, text.decode(_TEXTS.get(tag, "latin-1"))[:_LIMIT])
    return found


def _value(data: bytes, wanted: int | None = None) -> tuple[int, bytes, bytes]:
    """The tag and content of the first value in `data`, and the bytes after it.

    Raises:
        ValueError: It has another tag than `wanted`, or is cut off.
        IndexError: There is none.
    """
    tag, size, begin = data[0], data[1], 2
    if size & 0x80:
        begin += size & 0x7F
        size = int.from_bytes(data[2:begin])
    if (wanted is not None and tag != wanted) or begin + size > len(data):
        raise ValueError(tag)
    return tag, data[begin : begin + size], data[begin + size :]
