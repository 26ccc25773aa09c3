"""What to check after a refusal that ends a run. Pure.

The documented causes of a 403 share one status, and no wording is documented, so all of them are named. An address that
the answer repeats is shown: it is the one that has to be on the vendor's list. Source: CONTRACT "Start".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchform.api.route import Proxy
    from batchform.model import ServerProblem

_V4, _V6 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"
_ADDRESS = re.compile(rf"(?<![\w.:])(?:{_V4}|{_V6})(?!\.?[0-9]|[\w:])")


def advice(problem: ServerProblem, proxy: Proxy | None) -> str:
    """One or two sentences, without saying again what was answered."""
    match problem.status:
        case None:
            return ""
        case 401:
            return "Check the token; the server does not know it."
        case 403:
            return f"Check the credits, the token's product, and whether it is disabled. {_where(problem, proxy)}"
        case _:
            return "Something between here and the service may change the request: check the endpoint and the proxy."


def _where(problem: ServerProblem, proxy: Proxy | None) -> str:
    address = shown_address(f"{problem.title} {problem.detail}")
    seen = f" (the answer names {address})" if address else ""
    if proxy is not None:
        return f"The vendor may not allow the address of the proxy {proxy}{seen}: it has to be on the vendor's list."
    return (
        f"The vendor may not allow this machine's address{seen}: send requests from an address on the vendor's list,"
        " for example through a proxy (HTTPS_PROXY)."
    )


def shown_address(text: str) -> str:
    """The first IP address in a text; empty if there is none."""
    from ipaddress import ip_address  # noqa: PLC0415  # only after a refusal

    for found in _ADDRESS.findall(text):
        try:
            return str(ip_address(found))
        except ValueError:
            continue
    return ""
