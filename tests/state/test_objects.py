"""Object stores: what each error means, and which settings are usable."""

from __future__ import annotations

import os
import re
import ssl
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
import trustme

from batchform.errors import BatchformError, StateError, UsageError
from batchform.state.address import Bucket
from batchform.state.objects import Objects, _unsure
from batchform.state.registers import Down, Held, Unsure, Why
from batchform.state.remote.access import JOURNAL, Access
from batchform.state.remote.reader import read
from tests.proof.toll import Toll
from tests.state.engines import BUCKET, SCHEMES, environment, server

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("obstore", reason="it has no wheel for this machine")

KINDS = ("moto", "google", "azurite")


def objects(kind: str, bucket: str = BUCKET) -> Objects:
    """Registers under a fresh key."""
    return Objects(Bucket(scheme=SCHEMES.get(kind, "s3"), bucket=bucket, key=f"{uuid.uuid4().hex}/state.json"))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no store."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_bucket_is_no_missing_state(kind: str) -> None:
    """Neither read nor written; the message names it."""
    with environment(kind):
        one = objects(kind, "no-such-bucket")
        with pytest.raises(Unsure) as caught:
            one.read("")
        assert caught.value.why is Why.NO_BUCKET
        with pytest.raises(Unsure) as caught:
            one.write("", b"one", None)
        assert caught.value.why is Why.NO_BUCKET
        with pytest.raises(StateError, match="bucket does not exist"):
            read(one, 5.0)


def test_credentials_that_the_store_does_not_accept_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what sets them; and they are not shown."""
    with environment("google"):
        monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "of another service")
        with pytest.raises(StateError) as caught:
            read(objects("google"), 5.0)
    assert caught.value.summary.startswith("There are no usable credentials for")
    assert "GOOGLE_BEARER_TOKEN" in caught.value.detail
    assert "of another service" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (400, "ExpiredToken", Why.EXPIRED),
        (400, "TokenRefreshRequired", Why.EXPIRED),
        (301, "PermanentRedirect", Why.REGION),
        (400, "AuthorizationHeaderMalformed", Why.REGION),
        (401, "-", Why.NO_CREDENTIALS),
        (403, "AccessDenied", Why.FORBIDDEN),
        (403, "AuthenticationFailed", Why.NO_CREDENTIALS),
        (403, "AuthorizationPermissionMismatch", Why.FORBIDDEN),
        (403, "SignatureDoesNotMatch", Why.NO_CREDENTIALS),
        (404, "NoSuchBucket", Why.NO_BUCKET),
        (404, "-", Why.NO_BUCKET),
        (404, "SomethingElse", Why.NO_BUCKET),
        (409, "ContainerBeingDeleted", Why.NO_BUCKET),
        (409, "BlobAlreadyExists", Why.REFUSED),
        (409, "ConditionalRequestConflict", Why.REFUSED),
        (412, "ConditionNotMet", Why.REFUSED),
        (429, "SlowDown", Why.THROTTLED),
        (503, "ServerBusy", Why.THROTTLED),
        (503, "SlowDown", Why.THROTTLED),
        (307, "TemporaryRedirect", Why.REGION),
        (400, "KMS.DisabledException", Why.OTHER),
        (403, "InvalidObjectState", Why.ARCHIVED),
        (403, "RequestTimeTooSkewed", Why.CLOCK),
        (409, "BlobArchived", Why.ARCHIVED),
        (409, "BlobImmutableDueToPolicy", Why.RETAINED),
        (501, "NotImplemented", Why.NO_CONDITIONS),
        (501, "-", Why.NO_CONDITIONS),
        (503, "InternalError", Why.OTHER),
        (500, "-", Why.OTHER),
    ],
)
@pytest.mark.parametrize("kind", ["moto", "google"])
def test_each_answer_has_a_meaning(status: int, code: str, why: Why, kind: str) -> None:
    """The documented codes of the three services, then the status alone. A status and a code are all that is kept."""
    with Toll(server(kind)) as toll, environment(kind, toll.port):
        one = objects(kind)
        toll.begin(1, f"{status} {code}", for_good=True)
        for ask in (lambda: one.read(""), lambda: one.write("", b"one", None)):
            with pytest.raises(Unsure) as caught:
                ask()
            assert caught.value.why is why
            assert caught.value.detail == ("a redirect" if status < 400 else f"{status} {code}".removesuffix(" -"))


@pytest.mark.parametrize(
    ("kind", "fault", "summary", "says"),
    [
        ("moto", "403 RequestTimeTooSkewed", "The clock of this machine is wrong", "Set the clock"),
        ("moto", "501 NotImplemented", "This store has no conditional writes", "MinIO"),
        ("moto", "403 InvalidObjectState", "The object is archived", "exclude them from the rule"),
        ("moto", "409 BlobImmutableDueToPolicy", "The store does not let us replace the object", "without one"),
        ("moto", "503 SlowDown", "The store limits our requests", "Run again later"),
        ("moto", "503 InternalError", "The store reports an error of its own", "when it is back"),
        ("moto", "400 KMS.DisabledException", "The answer of the store cannot be used", "KMS.DisabledException"),
        ("moto", "409 ConditionalRequestConflict", "The answer of the store cannot be used", "ConditionalRequest"),
        ("moto", "403 AccessDenied", "The store does not let us write", "`AWS_SERVER_SIDE_ENCRYPTION`"),
        ("moto", "gone", "The store does not answer", "when it is back"),
        ("google", "403 AccessDenied", "The store does not let us write", "objectUser"),
    ],
)
def test_a_write_that_never_takes_place_has_a_true_reason(kind: str, fault: str, summary: str, says: str) -> None:
    """A store that answers is not one that does not answer, and each cause that can be told has its own next step."""
    with Toll(server(kind)) as toll, environment(kind, toll.port):
        access = Access(objects(kind), 0.0)
        toll.begin(1, fault)  # the read after it shows that nothing is there
        with pytest.raises(Down) as caught:
            access.write(JOURNAL, b"one", None)
        error = access.not_usable(caught.value)
    assert error.summary == summary
    assert says in error.detail


def test_a_store_that_throttles_is_written_less_often() -> None:
    """At most once in 1.1 s from then on; Google always."""
    with Toll(server("moto")) as toll, environment("moto", toll.port):
        one = objects("moto")
        assert one.every == 0.0
        toll.begin(1, "503 SlowDown")
        with pytest.raises(Unsure):
            one.write("", b"one", None)
        assert one.every == 1.1
        assert one.write("", b"one", None)
    with environment("google"):
        assert objects("google").every == 1.1


def test_an_answer_without_a_tag_is_no_yes() -> None:
    """The write may have taken place; the next read tells."""
    with Toll(server("google")) as toll, environment("google", toll.port):
        one = objects("google")
        toll.without = "x-goog-generation"
        with pytest.raises(Unsure, match="without a tag"):
            one.write("", b"one", None)
        with pytest.raises(Unsure, match="without a tag"):
            one.read("")
        toll.without = ""
        assert (one.read("") or Held(b"", "")).data == b"one"


def test_an_authority_of_the_company_is_named_and_trusted(
    bare: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A store with a certificate of its own, or a proxy that inspects TLS: one variable, as for the service."""
    authority, context, file = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(file))
    with Toll(server("moto"), context) as toll, environment("moto", toll.port):
        bare.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{toll.port}")
        bare.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")
        with pytest.raises(StateError, match="certificate of the store is not accepted") as caught:
            read(objects("moto"), 0.0)
        assert "`BATCHFORM_CA_BUNDLE`" in caught.value.detail
        assert "UnknownIssuer" in caught.value.detail
        bare.setenv("BATCHFORM_CA_BUNDLE", str(file))
        assert objects("moto").read("") is None
        bare.setenv("BATCHFORM_CA_BUNDLE", str(tmp_path / "none"))
        with pytest.raises(UsageError, match="The CA file cannot be used"):
            objects("moto")
    capfd.readouterr()  # the handshakes that failed


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, "connection refused"),
        (
            {"AWS_ENDPOINT_URL_S3": "https://store.invalid", "HTTPS_PROXY": "http://u:topsecret@127.0.0.1:1"},
            "the proxy",
        ),
    ],
)
def test_a_store_that_cannot_be_reached_is_named(given: dict[str, str], says: str, bare: pytest.MonkeyPatch) -> None:
    """With what names its place, and the proxy that counts."""
    with environment("moto"):
        for name, value in given.items():
            bare.setenv(name, value)
        with pytest.raises(StateError, match="The store cannot be reached") as caught:
            read(objects("moto"), 0.0)
    assert says in caught.value.detail
    assert "`HTTPS_PROXY`" in caught.value.detail
    assert "topsecret" not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "debug", "why", "detail"),
    [
        ("HTTP error", "kind: Connect, dns error", Why.UNREACHABLE, "no address for its host name"),
        ("HTTP error", "kind: Connect, ProxyAuthRequired", Why.UNREACHABLE, "407 from the proxy"),
        ("HTTP error", "kind: Connect, TimedOut", Why.UNREACHABLE, "connect"),
        ("HTTP error", "kind: Timeout", Why.SILENT, "timeout"),
        ("HTTP error", "", Why.SILENT, "RuntimeError"),
        ("Unable to extract metadata from headers: ETag Header missing", "", Why.OTHER, "without ETag"),
        ("Content-Length Header missing from response", "", Why.OTHER, "without Content-Length"),
    ],
)
def test_an_error_without_a_status_has_a_meaning(text: str, debug: str, why: Why, detail: str) -> None:
    """A few fixed words of the library are all that is read."""
    unsure = _unsure(RuntimeError(f"{text}\n\nDebug source:\n{debug}"), "key")
    assert (unsure.why, unsure.detail) == (why, detail)


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "given", "says"),
    [
        ("az://container/key", {}, "set `AZURE_STORAGE_ACCOUNT_NAME`"),
        (
            "az://container/key",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "topsecret%"},
            "portal",
        ),
        ("gs://bucket/key", {"GOOGLE_APPLICATION_CREDENTIALS": "keyless.json"}, "set `GOOGLE_BEARER_TOKEN`"),
        ("gs://bucket/key", {"GOOGLE_APPLICATION_CREDENTIALS": "missing.json"}, "the key file of a service account"),
        ("s3://bucket/key", {"AWS_S3_EXPRESS": "topsecret"}, "one of the `AWS_` variables"),
        ("s3://bucket/key", {"AWS_SECRET_ACCESS_KEY": "topsecret"}, "only one of `AWS_ACCESS_KEY_ID`"),
        ("gs://bucket/key", {"GOOGLE_BASE_URL": "http://store.example.test"}, "begins with `https://`"),
        ("az://container/key", {"AZURE_STORAGE_ENDPOINT": "http://store.example.test/a"}, "begins with `https://`"),
        ("s3://bucket/key", {"AWS_ENDPOINT_URL": "store.example.test"}, "begins with `https://`"),
        ("s3://bucket/key", {"AWS_ENDPOINT_URL_S3": "http://[::topsecret/"}, "begins with `https://`"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    address: str, given: dict[str, str], says: str, bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is sent, without a word of what may be secret."""
    keyless = tmp_path / "keyless.json"
    keyless.write_text('{"type": "external_account", "audience": "topsecret"}')
    scheme, _, rest = address.partition("://")
    for name, value in given.items():
        bare.setenv(name, str(tmp_path / value) if value.endswith(".json") else value)
    with pytest.raises(UsageError) as caught:
        Objects(Bucket(scheme=scheme, bucket=rest.partition("/")[0], key="key"))
    assert says in caught.value.detail
    assert "topsecret" not in str(caught.value)


def test_a_token_takes_the_place_of_a_keyless_file(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on GitHub, where the action leaves both."""
    keyless = tmp_path / "keyless.json"
    keyless.write_text('{"type": "external_account"}')
    with environment("google"):
        bare.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(keyless))
        assert objects("google").read("") is None


@pytest.mark.parametrize(
    "given",
    [
        {"AZURE_USE_AZURE_CLI": "true"},
        {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/no/such/file"},
    ],
)
def test_missing_credentials_are_named(given: dict[str, str], bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the library tried in their place."""
    bare.setenv("PATH", str(tmp_path))
    bare.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for name, value in given.items():
        bare.setenv(name, value)
    with pytest.raises(StateError) as caught:
        read(Objects(Bucket(scheme="az", bucket="container", key="key")), 0.0)
    assert caught.value.summary == "There are no usable credentials for az://container/key"
    assert set(given) & set(re.findall(r"[A-Z_]{9,}", caught.value.detail))


@pytest.mark.parametrize(
    "given",
    [
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/file", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/team"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no"},
    ],
)
def test_a_token_file_that_is_missing_is_about_credentials(given: dict[str, str], bare: pytest.MonkeyPatch) -> None:
    """As in a pod whose volume is not there. It is not the store that does not answer."""
    for name, value in given.items():
        bare.setenv(name, value)
    with pytest.raises(StateError, match="no usable credentials"):
        read(objects("moto"), 0.0)


def test_a_refusal_of_the_machine_itself_is_about_credentials() -> None:
    """The library asks a virtual machine for credentials that the environment does not hold."""
    said = "Generic GCS error: Error performing token request: Error performing GET http://169.254.169.254/x - Server "
    unsure = _unsure(RuntimeError(said + "returned non-2xx status code: 404 Not Found: no"), "key")
    assert (unsure.why, unsure.detail) == (Why.NO_CREDENTIALS, "404")


def test_a_refusal_of_a_metadata_server_elsewhere_is_about_credentials(bare: pytest.MonkeyPatch) -> None:
    """Its 404 is not that of a bucket."""
    with Toll(server("moto")) as toll:
        toll.begin(1, "404 -", for_good=True)
        bare.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{toll.port}")
        bare.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server('moto')}")
        with pytest.raises(StateError, match="no usable credentials") as caught:
            read(objects("moto"), 0.0)
    assert "`AWS_PROFILE`" in caught.value.detail


@pytest.mark.parametrize(
    ("address", "name", "given"),
    [
        ("s3://bucket/key", "AWS_ACCESS_KEY_ID", {}),
        ("s3://bucket/key", "AWS_SECRET_ACCESS_KEY", {}),
        ("s3://bucket/key", "AWS_SESSION_TOKEN", {}),
        ("s3://bucket/key", "AWS_REGION", {}),
        ("gs://bucket/key", "GOOGLE_BEARER_TOKEN", {}),
        ("az://container/key", "AZURE_STORAGE_ACCOUNT_NAME", {}),
        ("az://container/key", "AZURE_STORAGE_TOKEN", {"AZURE_STORAGE_ACCOUNT_NAME": "account"}),
    ],
)
def test_a_line_break_in_a_credential_is_named(
    address: str, name: str, given: dict[str, str], bare: pytest.MonkeyPatch
) -> None:
    """Secrets are often pasted with one at their end. The library would panic when it signs the first request."""
    for key, value in {**given, name: "topsecret\n"}.items():
        bare.setenv(key, value)
    scheme, _, rest = address.partition("://")
    with pytest.raises(UsageError) as caught:
        Objects(Bucket(scheme=scheme, bucket=rest.partition("/")[0], key="key"))
    assert caught.value.summary == f"{name} is not usable"
    assert "line break" in caught.value.detail
    assert "topsecret" not in str(caught.value) + caught.value.detail


def test_a_panic_of_the_library_is_an_answer_like_any_other(
    bare: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Here from a token with a line break in a file. It is no `Exception`, so nothing else would catch it."""
    token = tmp_path / "token"
    token.write_text("topsecret\n")
    bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server('moto')}/credentials")
    bare.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    bare.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server('moto')}")
    one = objects("moto")
    for ask in (lambda: one.read(""), lambda: one.write("", b"one", None)):
        with pytest.raises(Unsure) as caught:
            ask()
        assert caught.value.why is Why.NO_CREDENTIALS
    assert "topsecret" not in capfd.readouterr().err


def test_an_interruption_is_not_taken_for_an_answer() -> None:
    """Ctrl-C ends the command."""
    with pytest.raises(KeyboardInterrupt):
        _unsure(KeyboardInterrupt(), "key")


def test_the_library_that_is_missing_is_named(bare: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    bare.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError) as caught:
        objects("moto")
    assert "pip install obstore" in caught.value.detail


@pytest.mark.parametrize("region", ["", "region = eu-central-1\n"])
def test_a_profile_is_read_with_boto3(region: str, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its credentials and its region; the library reads no profiles by itself."""
    config = tmp_path / "config"
    config.write_text(f"[profile team]\naws_access_key_id = key\naws_secret_access_key = secret\n{region}")
    bare.setenv("AWS_CONFIG_FILE", str(config))
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    bare.setenv("AWS_PROFILE", "team")
    bare.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server('moto')}")
    assert objects("moto").read("") is None


def test_a_profile_without_boto3_names_both_ways_out(bare: pytest.MonkeyPatch) -> None:
    """boto3, or the credentials of the profile in the environment."""
    bare.setenv("AWS_PROFILE", "team")
    bare.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError) as caught:
        objects("moto")
    assert "pip install boto3" in caught.value.detail
    assert "export-credentials" in caught.value.detail


def test_a_profile_that_does_not_exist_is_not_repeated(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its name may be anything."""
    bare.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    bare.setenv("AWS_PROFILE", "topsecret")
    with pytest.raises(UsageError) as caught:
        objects("moto")
    assert "AWS_PROFILE is not usable" in caught.value.summary
    assert "topsecret" not in str(caught.value)


PROFILES = """
[profile empty]
region = eu-central-1
[profile half]
aws_access_key_id = topsecret
[profile process]
credential_process = /bin/false topsecret
[profile chain]
role_arn = arn:aws:iam::123456789012:role/team
source_profile = topsecret
[profile sign-in]
sso_start_url = https://example.test/topsecret
sso_region = eu-central-1
sso_account_id = 123456789012
sso_role_name = team
region = eu-central-1
"""


@pytest.mark.parametrize("profile", ["empty", "half", "process", "chain", "sign-in"])
def test_a_profile_without_credentials_is_named(profile: str, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever boto3 finds that out: when it reads the profile, or when it asks for the credentials."""
    config = tmp_path / "config"
    config.write_text(PROFILES)
    bare.setenv("AWS_CONFIG_FILE", str(config))
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    bare.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bare.setenv("HOME", str(tmp_path))
    bare.setenv("AWS_PROFILE", profile)
    bare.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server('moto')}")
    with pytest.raises(BatchformError) as caught:
        read(objects("moto"), 0.0)
    assert re.search("AWS_PROFILE is not usable|no usable credentials", caught.value.summary)
    assert "aws sts get-caller-identity" in caught.value.detail
    assert "topsecret" not in str(caught.value) + caught.value.detail
