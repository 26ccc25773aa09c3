"""Which certificate authorities are trusted. There is no setting that turns verification off.

`BATCHFORM_CA_BUNDLE` adds to the system's store. `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` replace it,
as they do for curl and `requests`. The first of the four that is set decides alone.
"""

from __future__ import annotations

import os
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDS = "BATCHFORM_CA_BUNDLE"
REPLACES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A store of certificate authorities.

    `path` is a file or a folder of certificates, empty for the system's store alone. `setting` is the variable that
    named it. With `adds`, the system's store counts as well.
    """

    path: str = ""
    setting: str = ""
    adds: bool = False

    def __str__(self) -> str:
        if not self.path:
            return "the system's store"
        named = f"{self.path} ({self.setting})" if self.setting else self.path
        return f"the system's store and {named}" if self.adds else named


SYSTEM = Trust()


def choose_trust(environ: Mapping[str, str]) -> Trust:
    """The store that the environment asks for."""
    for name in (ADDS, *REPLACES):
        if environ.get(name):
            return Trust(path=environ[name], setting=name, adds=name == ADDS)
    return SYSTEM


def tls_context(trust: Trust) -> ssl.SSLContext:
    """A verifying context for this store, for HTTP/1.1.

    Raises:
        UsageError: The certificates cannot be read.
    """
    if trust.path and not trust.adds:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = _system_context(alone=not trust.path)
    if trust.path:
        try:
            if os.path.isdir(trust.path):  # noqa: PTH112  # Path() would change what the user wrote
                context.load_verify_locations(capath=trust.path)
            else:
                context.load_verify_locations(cafile=trust.path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            raise UsageError(
                "The CA file cannot be used",
                f"{trust.setting + ': ' if trust.setting else ''}{trust.path}: {why}. Nothing was sent.",
            ) from error
    # The same certificates pass on every Python: from 3.13 on, the strict flag refuses many company authorities.
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _system_context(*, alone: bool) -> ssl.SSLContext:
    """A context that trusts the system's store; if it is not alone, without what SSL_CERT_FILE makes of that."""
    if sys.platform in {"darwin", "win32"}:  # their stores are not files that OpenSSL could read
        return _native_context()
    if alone:
        return ssl.create_default_context()
    context, paths = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.get_default_verify_paths()
    for name, path, exists in (
        ("cafile", paths.openssl_cafile, os.path.isfile),
        ("capath", paths.openssl_capath, os.path.isdir),
    ):
        if exists(path):
            context.load_verify_locations(**{name: path})
    return context


def _native_context() -> ssl.SSLContext:
    import truststore  # noqa: PLC0415  # installed only where it is needed

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def is_empty(context: ssl.SSLContext, trust: Trust) -> bool:
    """Whether a system's store in files holds no certificate at all, as in some containers."""
    if trust.path or sys.platform in {"darwin", "win32"} or context.get_ca_certs():
        return False
    folder = ssl.get_default_verify_paths().capath
    return not (folder and os.path.isdir(folder) and os.listdir(folder))  # noqa: PTH208, PTH112  # as above
