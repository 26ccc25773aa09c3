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
_ORIGIN_CREDENTIALS: Final = (
    "git could not sign in to `origin`. `git ls-remote origin` must work without a question. On GitHub, do not set"
    " `persist-credentials: false` for actions/checkout."
)
_ORIGIN: Final = (
    "It does not exist, or these credentials may not see it, which is never taken for a state that does not exist yet."
    " Check `git remote get-url origin`."
)
_PUSH: Final = (
    "batchform needs the right to push to this branch. On GitHub: `permissions: contents: write`. On GitLab: a token"
    " with `write_repository`, or a job token that may push."
)
_RULE: Final = (
    "Exclude this branch from the rule, or allow these credentials to push to it. Commits there have one parent, and"
    " are signed if `commit.gpgsign` is set."
)
_FOREIGN: Final = (
    "It has other files. Name a branch that does not exist yet, for example `git:batchform-state`: the first run"
    " creates it."
)
_UNSIGNED: Final = (
    "`commit.gpgsign` is set, and the key cannot be used without a question. Make the key usable for this run, or set"
    " `git config commit.gpgsign false`."
)
_GIT: Final[Mapping[Why, tuple[str, str]]] = {
    Why.NO_CREDENTIALS: ("There are no usable credentials for {where}", _ORIGIN_CREDENTIALS),
    Why.NO_BUCKET: ("The repository of `origin` is not there", _ORIGIN),
    Why.FORBIDDEN: ("`origin` refuses these credentials", "They may not read the repository. Use others."),
    Why.RULE: ("A rule of the git server refuses the push", _RULE),
    Why.FOREIGN: ("The branch does not hold a batchform state", _FOREIGN),
    Why.UNSIGNED: ("The commit cannot be signed", _UNSIGNED),
}
_NO_PUSH: Final = ("`origin` does not let us push", _PUSH)
_ELSE: Final = ("The store does not answer", "It gave no usable answer in time. Run again when it is back.")


def not_usable(where: str, down: Down) -> StateError:
    """The error for a store that gave no usable answer."""
    last = down.last
    answers, no_write = (_GIT, _NO_PUSH) if where.startswith("git:") else (_ANSWERS, _NO_WRITE)
    summary, detail = no_write if down.writing and last.why is Why.FORBIDDEN else answers.get(last.why, _ELSE)
    told = f" (its answer: {last.detail})" if last.detail else ""
    return StateError(summary.format(where=where), f"{where}: {detail}{told}")


def ignores_conditions(where: str) -> StateError:
    """The error for a store in which two runs could overwrite each other."""
    return StateError(
        "This store ignores conditions",
        f"{where} took a write that named an outdated version. Two runs could overwrite each other there, so batchform"
        " does not use it. Nothing was sent. Amazon S3, MinIO, Ceph, Cloudflare R2 and SeaweedFS check conditions.",
    )
