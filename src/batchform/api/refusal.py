"""What to check after a refusal that ends a run. Pure.

The documented causes of a 403 share one status, and no wording is documented. So all causes are named, unless the
answer names exactly one. An address that the answer repeats is shown: it is the one that has to be on the vendor's
list. Source: CONTRACT "Start".
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
            return _forbidden(f"{problem.title} {problem.detail}")
        case _:
            return "Something between here and the server may change requests: check the endpoint and the proxy."


def _forbidden(text: str) -> str:
    """The advice for the one cause that the answer names, else for all of them."""
    address = shown_address(text)
    seen = f" (the answer names {address})" if address else ""
    causes = {
        r"\bcredits?\b|\bbalance\b": "Check that credits are left. After buying some, run `batchform apply` again.",
        r"\bip\b" + (f"|{re.escape(address)}" if address else ""): "The vendor does not allow the address that requests"
        f" come from{seen}: send them from one on the vendor's list, for example through a proxy (`HTTPS_PROXY`).",
        r"\bdomain\b": "The vendor does not allow the domain that requests come from: add it to the vendor's list.",
        r"\bproducts?\b|\bservice\b": "The token is for another product: use the token of this one.",
        r"\btokens?\b|\bdisabled\b": "Check that the token is enabled.",
    }
    found = [said for named, said in causes.items() if re.search(named, text, re.IGNORECASE)]
    if len(found) == 1:
        return found[0]
    return (
        "Check that credits are left, and that the token is enabled and for this product. The vendor may also not allow"
        f" the domain or address that requests come from{seen}: send them from one on the vendor's list, for example"
        " through a proxy (`HTTPS_PROXY`)."
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
