"""Who issued a certificate, and which authorities are trusted."""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.certificate import issuer_of
from batchform.api.client import Client
from batchform.api.contract import Answer, NotSent, status_request
from batchform.api.trust import SYSTEM, Trust, choose_trust, is_empty, tls_context
from batchform.errors import UsageError
from batchform.model import Service
from tests.api.servers import RawServer, always, answer

if TYPE_CHECKING:
    from pathlib import Path

CA = trustme.CA(organization_name="Example Inspection", organization_unit_name="Proxy Team")
OTHER = trustme.CA()
LEAF = ssl.PEM_cert_to_DER_cert(CA.issue_cert("127.0.0.1").cert_chain_pems[0].bytes().decode())


def test_the_issuer_is_read() -> None:
    """Its name, or its unit where there is no name, and its organization."""
    assert issuer_of(LEAF) == "Proxy Team (Example Inspection)"


def test_every_authority_of_the_system_can_be_read() -> None:
    """Real certificates use more forms of text than our own."""
    for der in ssl.create_default_context().get_ca_certs(binary_form=True):
        assert issuer_of(der)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    """What is no certificate has no issuer that matters, and raises nothing."""
    assert isinstance(issuer_of(data), str)


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read(at: int, byte: int) -> None:
    """So is a real one with any byte changed, or cut off anywhere."""
    assert isinstance(issuer_of(LEAF[:at] + bytes([byte]) + LEAF[at + 1 :]), str)
    assert isinstance(issuer_of(LEAF[:at]), str)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, SYSTEM),
        ({"SSL_CERT_FILE": ""}, SYSTEM),
        ({"CURL_CA_BUNDLE": "c"}, Trust(path="c", setting="CURL_CA_BUNDLE")),
        ({"CURL_CA_BUNDLE": "c", "REQUESTS_CA_BUNDLE": "r"}, Trust(path="r", setting="REQUESTS_CA_BUNDLE")),
        ({"REQUESTS_CA_BUNDLE": "r", "SSL_CERT_FILE": "s"}, Trust(path="s", setting="SSL_CERT_FILE")),
        (
            {"SSL_CERT_FILE": "s", "BATCHFORM_CA_BUNDLE": "b"},
            Trust(path="b", setting="BATCHFORM_CA_BUNDLE", adds=True),
        ),
    ],
)
def test_the_first_variable_decides(environ: dict[str, str], expected: Trust) -> None:
    """Batchform's own comes first, and is the only one that adds."""
    assert choose_trust(environ) == expected


def pem(folder: Path, *authorities: trustme.CA) -> str:
    """A file with these authorities."""
    path = folder / "ca.pem"
    for authority in authorities:
        authority.cert_pem.write_to_path(str(path), append=True)
    return str(path)


def works(trust: Trust) -> bool:
    """Whether a server with a certificate of `CA` is spoken to."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(tls)
    with RawServer(always(answer()), tls=tls) as server, Client(server.endpoint, "t0ken-8-long", trust=trust) as client:
        reply = client.send(status_request(Service.PHONE, "abc-1"))
    assert isinstance(reply, (Answer, NotSent))
    return isinstance(reply, Answer)


@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize(("authority", "expected"), [(CA, True), (OTHER, False)])
def test_a_bundle_is_trusted(authority: trustme.CA, tmp_path: Path, *, adds: bool, expected: bool) -> None:
    """Whether it adds to the store or replaces it."""
    assert works(Trust(path=pem(tmp_path, authority), adds=adds)) is expected


def test_only_batchforms_own_variable_keeps_the_system_store(tmp_path: Path) -> None:
    """The others replace it."""
    path = pem(tmp_path, CA)
    system = len(ssl.create_default_context().get_ca_certs())
    if not system:
        pytest.skip("this machine's store is no file")
    assert len(tls_context(Trust(path=path)).get_ca_certs()) == 1
    assert len(tls_context(Trust(path=path, adds=True)).get_ca_certs()) == system + 1


def test_a_bundle_that_adds_ignores_the_other_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL itself would read SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", pem(tmp_path, CA))
    other = tmp_path / "other"
    other.mkdir()
    assert not works(Trust(path=pem(other, OTHER), setting="BATCHFORM_CA_BUNDLE", adds=True))
    assert works(SYSTEM)


def test_the_same_certificates_pass_on_every_python() -> None:
    """Python 3.13 began to refuse authorities without a key identifier, as companies make them."""
    for trust in (SYSTEM, Trust(path=ssl.get_default_verify_paths().cafile or "", adds=True)):
        flags = tls_context(trust).verify_flags
        assert not flags & ssl.VERIFY_X509_STRICT
        assert flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert tls_context(trust).verify_mode is ssl.CERT_REQUIRED
        assert tls_context(trust).check_hostname


@pytest.mark.parametrize("adds", [True, False])
def test_macos_keeps_its_store_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, adds: bool) -> None:
    """There truststore verifies; here it stands in with this machine's store."""
    monkeypatch.setattr(sys, "platform", "darwin")
    path = pem(tmp_path, CA)
    assert works(Trust(path=path, adds=adds))
    assert not works(SYSTEM)
    assert type(tls_context(SYSTEM)).__module__.startswith("truststore")


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["absent", "empty", "garbage"])
@pytest.mark.parametrize("adds", [True, False])
def test_a_bundle_of_no_use_is_an_error(content: str | None, tmp_path: Path, *, adds: bool) -> None:
    """It names the variable and the file; the system's store is no silent substitute."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as caught:
        tls_context(Trust(path=str(path), setting="CURL_CA_BUNDLE", adds=adds))
    assert f"CURL_CA_BUNDLE: {path}: " in caught.value.detail


def test_a_store_without_certificates_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without ca-certificates."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert is_empty(tls_context(SYSTEM), SYSTEM) is (sys.platform == "linux")
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
    assert is_empty(tls_context(SYSTEM), SYSTEM)
    trust = Trust(path=pem(tmp_path, CA))
    assert not is_empty(tls_context(trust), trust)
