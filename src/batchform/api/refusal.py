"""What to check after a refusal that ends a run. Pure.

The documented causes of a 403 share one status, and no wording is documented, so all of them are named. An address that
the answer repeats is shown: it is the one that has to be on the vendor's list. Source: CONTRACT "Start".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchform.model import ServerProblem

_V4, _V6 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"
_ADDRESS = re.compile(rf"(?<![\w.:])(?:{_V4}|{_V6})(?!\.?[0-9]|[\w:])")


def advice(problem: ServerProblem) -> str:
    """One or two sentences, without saying again what was answered."""
    match problem.status:
        case None:
            return ""  # what was not sent says by itself what to check
        case 401:
            return "Check the token: it may be wrong, expired or for another product."
        case 403:
            address = shown_address(f"{problem.title} {problem.detail}")
            seen = f" (the answer names {address})" if address else ""
            return (
                "Check that credits are left, and that the token is enabled and for this product. The vendor may also"
                f" not allow the address that requests come from{seen}: send them from one on the vendor's list, for"
                " example through a proxy (`HTTPS_PROXY`)."
            )
        case _:
            return "Something between here and the server may change requests: check the endpoint and the proxy."


def shown_address(text: str) -> str:
    """The first IP address in a text; empty if there is none."""
    from ipaddress import ip_address  # noqa: PLC0415  # only after a refusal

    for found in _ADDRESS.findall(text):
        try:
            return str(ip_address(found))
        except ValueError:
            continue
    return ""
