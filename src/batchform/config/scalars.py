"""What an unquoted YAML scalar stands for.

YAML 1.1, YAML 1.2 and the parsers in use disagree about `NO`, `0441`, `1e5`, `12:30` and `2026-11-20`. To take them for
text would be right for one author and a silent change for another. So there are three results: a value that all parsers
agree on, a text, and `Plain`. `Plain` keeps the author's letters, and the judge decides whether they may be used.
"""

from __future__ import annotations

import re


class Plain(str):
    """An unquoted scalar that some YAML parsers take for something other than text, as its author wrote it.

    Where a text is required, it must be quoted.
    """

    __slots__ = ()


_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
SUSPECT = frozenset("0123456789+-.~yYnNtTfFoO")
"""The first characters of unquoted scalars that can stand for something other than text."""
# Numbers like 0441, 1_000, +44770, 12:30:45, 1.50, .5, 6.02e+23; dates like 2026-11-20, with a time of day or without.
# No two parts of a number can match the same digit, so the time is linear in the length of the text.
_NOT_ONLY_TEXT = re.compile(
    r"""(?P<integer> -? (?: 0 | [1-9][0-9]{0,17} ) )
    | (?P<decimal> -? (?: 0 | [1-9][0-9]{0,17} ) \. [0-9]{1,18} )
    | (?i: null | true | false | yes | no | on | off | y | n )
    | [-+]? (?: 0b[01_]+ | 0o[0-7_]+ | 0x[0-9a-fA-F_]+ | \.(?i:inf) ) | \.(?i:nan)
    | [-+]? (?: [0-9][0-9_]* (?: :[0-5]?[0-9] )* (?: \.[0-9_]* )? | \.[0-9][0-9_]* ) (?: [eE][-+]?[0-9]+ )?
    | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2}
      (?: (?: [Tt] | [ \t]+ ) [0-9]{1,2} : [0-9]{2} : [0-9]{2} (?: \.[0-9]* )?
          (?: [ \t]* (?: Z | [-+][0-9]{1,2} (?: :?[0-9]{2} )? ) )? )?""",
    re.VERBOSE,
).fullmatch


def resolve(text: str) -> bool | float | str | None:
    """The value of an unquoted scalar: None, a boolean, a decimal number, a text, or `Plain`.

    A number has at most 18 digits on each side of the point: a longer one could change when written again.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in SUSPECT:
        return text
    match = _NOT_ONLY_TEXT(text)
    if match is None:
        return text
    if match.lastgroup == "integer":
        return int(text)
    if match.lastgroup == "decimal":
        return float(text)
    return Plain(text)
