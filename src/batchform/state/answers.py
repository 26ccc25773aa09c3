"""What a store's answers mean for a user: the messages for likely mistakes, and the way out of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.errors import StateError
from batchform.state.registers import Why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchform.state.registers import Down

_CREDENTIALS: Final = (
    "Sign in with your cloud's own CI action first (on GitHub with `permissions: id-token: write`), or set the"
    " environment variables of its command-line tool."
)
_BUCKET: Final = (
    "A missing bucket is never taken for a state that does not exist yet. Create the bucket, or correct the address."
)
_READ: Final = (
    "batchform needs the right to read the state, and to list the bucket: without that right the store does not say"
    " whether an object exists. On S3: `s3:GetObject` on the state, `.journal` and `.backup`, and `s3:ListBucket` on"
    " the bucket."
)
_WRITE: Final = (
    "batchform needs the right to write the state, `.journal` and `.backup`. On S3: `s3:PutObject` on these three keys."
)
_EXPIRED: Final = "Run again with new credentials. For long runs, ask your cloud for credentials that last longer."

_ANSWERS: Final[Mapping[Why, tuple[str, str]]] = {
    Why.NO_CREDENTIALS: ("There are no usable credentials for {where}", _CREDENTIALS),
    Why.NO_BUCKET: ("The bucket does not exist", _BUCKET),
    Why.FORBIDDEN: ("The store does not say whether the state exists", _READ),
    Why.REGION: ("The bucket is in another region", "Set `AWS_REGION` to the region of the bucket."),
    Why.EXPIRED: ("The credentials have expired", _EXPIRED),
}
_NO_WRITE: Final = ("The store does not let us write", _WRITE)
_ELSE: Final = ("The store does not answer", "It gave no usable answer in time. Run again when it is back.")


def not_usable(where: str, down: Down) -> StateError:
    """The error for a store that gave no usable answer."""
    last = down.last
    summary, detail = _NO_WRITE if down.writing and last.why is Why.FORBIDDEN else _ANSWERS.get(last.why, _ELSE)
    told = f" (its answer: {last.detail})" if last.detail else ""
    return StateError(summary.format(where=where), f"{where}: {detail}{told}")


def ignores_conditions(where: str) -> StateError:
    """The error for a store in which two runs could overwrite each other."""
    return StateError(
        "This store ignores conditions",
        f"{where} took a write that named an outdated version. Two runs could overwrite each other there, so batchform"
        " does not use it. Nothing was sent. Amazon S3, MinIO, Ceph, Cloudflare R2 and SeaweedFS check conditions.",
    )
