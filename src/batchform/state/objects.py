"""Registers in an object store: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

The only file that imports obstore. Its own retries are off: after a lost answer they would turn our own write into a
refusal. Its errors carry whole answers and addresses, so only the status and the store's code for it are kept.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from batchform.errors import UsageError
from batchform.state.answers import unusable_settings
from batchform.state.registers import THROTTLED_EVERY, Held, Unsure, Why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import AzureStore, GCSStore, S3Store

    from batchform.state.address import Bucket
    from batchform.state.registers import Tag

_NO_CREDENTIALS: Final = (
    "performing token request",
    "az account get-access-token",
    "token file",
    "credential provider",
    "InvalidHeaderValue",
)
"""Parts of an error that say that the library found no usable credentials, or asked for some in vain."""

_CODES: Final[Mapping[str, Why]] = {
    "AuthenticationFailed": Why.NO_CREDENTIALS,
    "AuthorizationHeaderMalformed": Why.REGION,
    "BlobArchived": Why.ARCHIVED,
    "BlobBeingRehydrated": Why.ARCHIVED,
    "BlobImmutableDueToPolicy": Why.RETAINED,
    "BlobNotFound": Why.ABSENT,
    "ConditionalRequestConflict": Why.REFUSED,
    "ContainerBeingDeleted": Why.NO_BUCKET,
    "ContainerNotFound": Why.NO_BUCKET,
    "ExpiredToken": Why.EXPIRED,
    "InvalidAccessKeyId": Why.NO_CREDENTIALS,
    "InvalidObjectState": Why.ARCHIVED,
    "InvalidToken": Why.NO_CREDENTIALS,
    "NoSuchBucket": Why.NO_BUCKET,
    "NoSuchKey": Why.ABSENT,
    "NotImplemented": Why.NO_CONDITIONS,
    "PermanentRedirect": Why.REGION,
    "RequestExpired": Why.EXPIRED,
    "RequestTimeTooSkewed": Why.CLOCK,
    "ServerBusy": Why.THROTTLED,
    "SignatureDoesNotMatch": Why.NO_CREDENTIALS,
    "SlowDown": Why.THROTTLED,
    "TokenRefreshRequired": Why.EXPIRED,
}
_STATUSES: Final[Mapping[int, Why]] = {
    301: Why.REGION,
    307: Why.REGION,
    401: Why.NO_CREDENTIALS,
    403: Why.FORBIDDEN,
    409: Why.REFUSED,
    412: Why.REFUSED,
    429: Why.THROTTLED,
    501: Why.NO_CONDITIONS,
}


class Objects:
    """The registers under one key of one bucket."""

    lease = 60.0
    poll = 1.0
    timeout = "15s"
    """For one request. A write that takes longer says nothing about the present."""

    def __init__(self, address: Bucket) -> None:
        """Nothing is sent yet.

        Raises:
            UsageError: The library is missing, or the environment names an endpoint that is not safe.
        """
        self.where = str(address)
        self.every = THROTTLED_EVERY if address.scheme == "gs" else 0.0  # Google allows one write a second
        self._scheme, self._key = address.scheme, address.key
        self._store = _open(address, self.timeout)

    def rest(self, in_flight: int) -> float:  # noqa: ARG002  # a request costs next to nothing
        """See `Registers`."""
        return 0.0

    def read(self, name: str) -> Held | None:
        """See `Registers`."""
        import obstore  # noqa: PLC0415  # for remote states only

        try:
            found = obstore.get(self._store, self._key + name)
            tag = self._tag(found.meta.get("e_tag"), found.meta.get("version"))
            return Held(bytes(found.bytes()), tag, found.meta.get("last_modified"))
        except BaseException as error:  # noqa: BLE001  # whatever it was, the answer is not known
            unsure = _unsure(error, self._key + name)
            if unsure.why is Why.ABSENT:
                return None
            raise unsure from None

    def write(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """See `Registers`."""
        import obstore  # noqa: PLC0415  # for remote states only

        mode: Any = "create" if tag is None else {"version" if self._scheme == "gs" else "e_tag": tag}
        try:
            put = obstore.put(self._store, self._key + name, data, mode=mode, use_multipart=False)
            return self._tag(put.get("e_tag"), put.get("version"))
        except BaseException as error:  # noqa: BLE001  # the same
            unsure = _unsure(error, self._key + name)
            if unsure.why is Why.THROTTLED:
                self.every = max(self.every, THROTTLED_EVERY)
            raise unsure from None

    def _tag(self, e_tag: str | None, version: str | None) -> Tag:
        tag = version if self._scheme == "gs" else e_tag
        if not tag:
            raise Unsure(Why.OTHER, "without a tag")
        return tag


def _unsure(error: BaseException, key: str) -> Unsure:
    """What an error of the library says, without its text. `key` is the one of the request.

    Source: the error codes of Amazon S3, of the XML API of Cloud Storage and of the Blob service.
    """
    if isinstance(error, Unsure):
        return error
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # no Exception, for the library
        raise error
    text, _, debug = str(error).partition("\n\nDebug source:")
    status = re.search(r"status code: (\d{3})\b", text, re.ASCII)
    code = re.search(r"<Code>([A-Za-z.]{1,60})</Code>", text, re.ASCII)
    detail = " ".join(found[1] for found in (status, code) if found)
    asked = re.search(r"Error performing [A-Z]+ (https?://\S+) in ", text, re.ASCII)
    elsewhere = asked is not None and not unquote(urlsplit(asked[1]).path).endswith(f"/{key}")
    if elsewhere or any(part in text for part in _NO_CREDENTIALS):
        return Unsure(Why.NO_CREDENTIALS, detail)
    if "redirect without LOCATION" in text:
        return Unsure(Why.REGION, "a redirect")
    if status is None:
        return _without_status(text, debug, type(error).__name__)
    if code and code[1] in _CODES:
        return Unsure(_CODES[code[1]], detail)
    if status[1] == "404":
        return Unsure(Why.NO_BUCKET, detail)  # safety: it does not say that the bucket is there and the object is not
    return Unsure(_STATUSES.get(int(status[1]), Why.OTHER), detail)


def _without_status(text: str, debug: str, name: str) -> Unsure:
    """What an error says that has no status. `name` is that of its type."""
    if flaw := re.search(r"InvalidCertificate\(\s*([A-Za-z]{1,40})", debug, re.ASCII):
        return Unsure(Why.CERTIFICATE, flaw[1])
    if header := re.search(r"\b([A-Z][A-Za-z-]{1,20}) Header missing", text, re.ASCII):
        return Unsure(Why.OTHER, f"without {header[1]}")
    kind = re.search(r"kind: ([A-Z][a-z]{1,20})", debug, re.ASCII)
    if kind is not None and kind[1] == "Connect":
        return Unsure(
            Why.UNREACHABLE, next((says for part, says in _NOT_CONNECTED.items() if part in debug), "connect")
        )
    return Unsure(Why.SILENT, kind[1].lower() if kind else name)


_NOT_CONNECTED: Final[Mapping[str, str]] = {
    "ProxyAuthRequired": "407 from the proxy",
    "TunnelUnsuccessful": "refused by the proxy",
    "ConnectFailed": "no connection to the proxy",
    "dns error": "no address for its host name",
    "ConnectionRefused": "connection refused",
}


def _open(address: Bucket, timeout: str) -> S3Store | GCSStore | AzureStore:
    try:
        from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415  # for remote states only
    except ImportError:
        raise UsageError(
            "The library for remote states is not installed",
            f"{address} needs it: `pip install obstore`. Nothing was sent.",
        ) from None
    _check_headers(address.scheme)
    common: dict[str, Any] = {
        "retry_config": {"max_retries": 0},  # safety: a retry after a lost answer is refused, though we wrote
        "client_options": {
            "timeout": timeout,
            "connect_timeout": "5s",
            "allow_http": _is_loopback(address.scheme),
            "allow_invalid_certificates": False,
            **_authority(),
        },
    }
    if address.scheme == "s3":
        common |= {"conditional_put": "etag", **_aws()}
    kinds: dict[str, type[S3Store | GCSStore | AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    try:
        return kinds[address.scheme](address.bucket, **common)
    except Exception:  # noqa: BLE001  # whatever it was, it is in the settings; its text may hold a secret
        raise unusable_settings(address) from None


_IN_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ),
    "gs": ("GOOGLE_BEARER_TOKEN",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_SAS_TOKEN"),
}


def _check_headers(scheme: str) -> None:
    """Refuse what no header can hold: the library panics at it. Raises UsageError."""
    for name in _IN_HEADERS[scheme]:
        if re.search(r"[\x00-\x1f\x7f]", os.environ.get(name, "")):
            raise UsageError(
                f"{name} is not usable",
                "It has a line break or another control character, perhaps at its end. Set it again without."
                " Nothing was sent.",
            )


_ENDPOINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


def _is_loopback(scheme: str) -> bool:
    """Whether the environment names an endpoint on this machine, which alone may do without encryption.

    Raises:
        UsageError: It names one elsewhere that is not encrypted.
    """
    loopback = False
    for name in _ENDPOINTS[scheme]:
        if not (value := os.environ.get(name)):
            continue
        protocol, _, rest = value.partition("://")
        try:
            local = ip_address(urlsplit(f"//{rest}").hostname or "").is_loopback
        except ValueError:
            local = False
        if protocol != "https" and not (protocol == "http" and local):
            raise UsageError(
                f"{name} is not usable",
                "An endpoint begins with `https://`; `http://` is for a loopback address such as `127.0.0.1` only."
                " Nothing was sent.",
            )
        loopback = loopback or protocol == "http"
    return loopback


def _authority() -> dict[str, bytes]:
    """The authority to trust in addition to the system's. The library itself reads `SSL_CERT_FILE`.

    Raises:
        UsageError: Its file cannot be read.
    """
    file = os.environ.get("BATCHFORM_CA_BUNDLE")
    if not file:
        return {}
    try:
        return {"root_certificate": Path(file).read_bytes()}
    except OSError as error:
        raise UsageError(
            "The CA file cannot be used", f"BATCHFORM_CA_BUNDLE: {file}: {error.strerror}. Nothing was sent."
        ) from error


def _aws() -> dict[str, Any]:
    """What S3 needs beside the environment that the library reads by itself."""
    profile = os.environ.get("AWS_PROFILE")
    if not profile or os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  # untyped; only for profiles
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415  # the same

        session = boto3.Session(profile_name=profile)
        provider = Boto3CredentialProvider(session)
    except ImportError:
        raise UsageError(
            "AWS_PROFILE needs boto3",
            "The library for remote states does not read profiles. Run `pip install boto3`, or put the credentials"
            " into the environment: `aws configure export-credentials --format env`. Nothing was sent.",
        ) from None
    except Exception as error:  # noqa: BLE001  # boto3 raises many kinds; all mean the same here
        raise UsageError(
            "AWS_PROFILE is not usable",
            f"boto3 found no credentials for this profile ({type(error).__name__}). `aws sts get-caller-identity` has"
            " to work with it. Nothing was sent.",
        ) from None
    given: dict[str, Any] = {"credential_provider": provider}
    if session.region_name:
        given["region"] = session.region_name
    return given
