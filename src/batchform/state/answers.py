"""What a store's answers mean for a user: the messages for likely mistakes, and the way out of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.errors import StateError, UsageError
from batchform.state.registers import Why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchform.state.address import Bucket
    from batchform.state.registers import Down

_CREDENTIALS: Final[Mapping[str, str]] = {
    "s3": "On GitHub, `aws-actions/configure-aws-credentials` sets them (with `permissions: id-token: write`)."
    " Elsewhere, set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary ones, `AWS_SESSION_TOKEN`; or"
    " `AWS_PROFILE`, also for the profile `default`, which `aws sts get-caller-identity` has to accept.",
    "gs": "Set `GOOGLE_BEARER_TOKEN` to an access token: on GitHub, the output `access_token` of"
    " `google-github-actions/auth` with `token_format: access_token`. Or set `GOOGLE_APPLICATION_CREDENTIALS` to the"
    " key file of a service account.",
    "az": "After `azure/login` or `az login`, set `AZURE_USE_AZURE_CLI=true`. Elsewhere, set `AZURE_CLIENT_ID`,"
    " `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE`, or `AZURE_STORAGE_ACCOUNT_KEY`.",
}
_BUCKET: Final = (
    "A missing bucket is never taken for a state that does not exist yet. Create the bucket, or correct the address."
)
_AZURE_ROLE: Final = (
    "batchform needs the role `Storage Blob Data Contributor` on the container. `AuthorizationFailure` may also mean"
    " that the firewall of the storage account does not let this network in."
)
_READ: Final[Mapping[str, str]] = {
    "s3": "batchform needs the right to read the state, and to list the bucket: without that right the store does not"
    " say whether an object exists. On S3: `s3:GetObject` on the state, `.journal` and `.backup`, and `s3:ListBucket`"
    " on the bucket. If the objects are encrypted with a key of KMS: `kms:Decrypt` on that key.",
    "gs": "batchform needs the role `roles/storage.objectUser` on the bucket, or `storage.objects.get` and"
    " `storage.objects.list`: without the second, the store does not say whether an object exists.",
    "az": _AZURE_ROLE,
}
_WRITE: Final[Mapping[str, str]] = {
    "s3": "batchform needs the right to write the state, `.journal` and `.backup`. On S3: `s3:PutObject` on these three"
    " keys, and with a key of KMS `kms:GenerateDataKey` and `kms:Decrypt`. If a policy of the bucket asks for"
    " encryption, set `AWS_SERVER_SIDE_ENCRYPTION` and `AWS_SSE_KMS_KEY_ID`.",
    "gs": "batchform needs the role `roles/storage.objectUser` on the bucket, or `storage.objects.create` and"
    " `storage.objects.delete`: Cloud Storage asks for the second when an object is replaced.",
    "az": _AZURE_ROLE,
}
_SETTINGS: Final[Mapping[str, str]] = {
    "s3": "one of the `AWS_` variables has a value that the library cannot use, or only one of `AWS_ACCESS_KEY_ID` and"
    " `AWS_SECRET_ACCESS_KEY` is set.",
    "gs": "`GOOGLE_APPLICATION_CREDENTIALS` has to name the key file of a service account. The library does not read"
    " keyless files (`external_account`): set `GOOGLE_BEARER_TOKEN` to an access token instead.",
    "az": "set `AZURE_STORAGE_ACCOUNT_NAME` to the storage account. `AZURE_STORAGE_ACCOUNT_KEY`, if set, is a key as"
    " the portal shows it.",
}
_CERTIFICATE: Final = (
    "If your company's authority issued it, or a proxy that inspects TLS, set `BATCHFORM_CA_BUNDLE` to a file with the"
    " certificate of that authority. If it is not valid yet or any more, check the clock of this machine, too."
)
_PROXY: Final = " Where only a proxy reaches it, set `HTTPS_PROXY`: `BATCHFORM_PROXY` does not count for a store."
_NETWORK: Final[Mapping[str, str]] = {
    "s3": f"Check the network, `AWS_REGION` and, if it is set, `AWS_ENDPOINT_URL_S3`.{_PROXY}",
    "gs": f"Check the network.{_PROXY}",
    "az": f"Check the network, and `AZURE_STORAGE_ACCOUNT_NAME`, which is part of the host name.{_PROXY}",
}
_CLOCK: Final = "The store refuses requests whose time is wrong by more than 15 minutes. Set the clock of this machine."
_QUALIFY: Final = (
    "Amazon S3, Google Cloud Storage, Azure Blob Storage, MinIO, Ceph, Cloudflare R2 and SeaweedFS check conditions."
)
_NO_CONDITIONS: Final = (
    "It refuses a write that names the version to replace. Without such writes two runs could overwrite each other, so"
    f" batchform does not use it. {_QUALIFY}"
)
_KEYS: Final = "the state, `.journal` and `.backup`"
_ARCHIVED: Final = (
    f"A rule of the bucket has moved {_KEYS}, or one of them, to an archive class. Restore them, and exclude them from"
    " the rule."
)
_RETAINED: Final = (
    f"A retention or legal hold forbids to replace the object. batchform replaces {_KEYS} with each write: use a"
    " container without one, or allow it for versions only."
)
_EXPIRED: Final = "Run again with new credentials. For long runs, ask your cloud for credentials that last longer."

_ANSWERS: Final[Mapping[Why, tuple[str, str | Mapping[str, str]]]] = {
    Why.NO_CREDENTIALS: ("There are no usable credentials for {where}", _CREDENTIALS),
    Why.NO_BUCKET: ("The bucket does not exist", _BUCKET),
    Why.FORBIDDEN: ("The store does not say whether the state exists", _READ),
    Why.REGION: ("The bucket is in another region", "Set `AWS_REGION` to the region of the bucket."),
    Why.EXPIRED: ("The credentials have expired", _EXPIRED),
    Why.CLOCK: ("The clock of this machine is wrong", _CLOCK),
    Why.NO_CONDITIONS: ("This store has no conditional writes", _NO_CONDITIONS),
    Why.ARCHIVED: ("The object is archived", _ARCHIVED),
    Why.RETAINED: ("The store does not let us replace the object", _RETAINED),
    Why.THROTTLED: ("The store limits our requests", "Too many requests reach it at a time. Run again later."),
    Why.CERTIFICATE: ("The certificate of the store is not accepted", _CERTIFICATE),
    Why.UNREACHABLE: ("The store cannot be reached", _NETWORK),
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
_NOT_FREE: Final = (
    "git cannot hold a branch `a` and a branch `a/b` in one repository, and `origin` has one of the two. Choose another"
    " name."
)
_APART: Final = (
    "The address for pushes (`git remote get-url --push origin`) has another state of this branch than the one for"
    " reads (`git remote get-url origin`). It is another repository, or one of the two lags. Use one address for both."
)
_MACHINE: Final = (
    "batchform uses a temporary repository in `TMPDIR` and the settings of this checkout. Check the free space there,"
    " and what git says."
)
_GIT: Final[Mapping[Why, tuple[str, str]]] = {
    Why.NO_CREDENTIALS: ("There are no usable credentials for {where}", _ORIGIN_CREDENTIALS),
    Why.NO_BUCKET: ("The repository of `origin` is not there", _ORIGIN),
    Why.FORBIDDEN: ("`origin` refuses these credentials", "They may not read the repository. Use others."),
    Why.RULE: ("A rule of the git server refuses the push", _RULE),
    Why.FOREIGN: ("The branch does not hold a batchform state", _FOREIGN),
    Why.APART: ("`origin` reads from one place and pushes to another", _APART),
    Why.NOT_FREE: ("The name of the branch is not free", _NOT_FREE),
    Why.UNSIGNED: ("The commit cannot be signed", _UNSIGNED),
    Why.MACHINE: ("git failed on this machine", _MACHINE),
}
_NO_PUSH: Final = ("`origin` does not let us push", _PUSH)
_ELSE: Final = ("The store does not answer", "It gave no usable answer in time. Run again when it is back.")
_FAILING: Final = ("The store reports an error of its own", "Run again when it is back.")
_UNUSABLE: Final = (
    "The answer of the store cannot be used",
    "Check the endpoint, the rules of the bucket, and whether a proxy answers in its place.",
)


def not_usable(where: str, down: Down) -> StateError:
    """The error for a store that gave no usable answer."""
    last = down.last
    answers, no_write = (_GIT, _NO_PUSH) if where.startswith("git:") else (_ANSWERS, _NO_WRITE)
    other = _ELSE if answers is _GIT or last.why is Why.SILENT or not last.detail else _UNUSABLE
    other = _FAILING if other is _UNUSABLE and last.detail.startswith("5") else other
    summary, detail = no_write if down.writing and last.why is Why.FORBIDDEN else answers.get(last.why, other)
    if not isinstance(detail, str):
        detail = detail.get(where.partition(":")[0], detail["s3"])
    told = f" (its answer: {last.detail})" if last.detail else ""
    return StateError(summary.format(where=where), f"{where}: {detail}{told}")


def unusable_settings(address: Bucket) -> UsageError:
    """The error for an environment from which the library cannot make a connection."""
    return UsageError(
        "The settings of the store are not usable", f"{address}: {_SETTINGS[address.scheme]} Nothing was sent."
    )


def ignores_conditions(where: str) -> StateError:
    """The error for a store in which two runs could overwrite each other."""
    return StateError(
        "This store ignores conditions",
        f"{where} took a write that named an outdated version. Two runs could overwrite each other there, so batchform"
        f" does not use it. Nothing was sent. {_QUALIFY}",
    )
