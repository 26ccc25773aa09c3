"""`dataclass`, as everywhere, except for what `frozen=True` means at run time.

Nothing here ever changes a value once it is made: mypy reads `frozen=True` as it always does and refuses every
assignment, on every commit. Python would check the same on each field of each value that is made, which takes a tenth
of a large plan and of the start-up. So at run time a frozen class is one with a hash, and no more.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type[Any] | None = None, /, *, frozen: bool = False, **options: Any) -> Any:
        """As `dataclasses.dataclass`, without the checks of `frozen`."""
        return dataclasses.dataclass(cls, unsafe_hash=frozen and options.get("eq", True), **options)


__all__ = ["dataclass"]
