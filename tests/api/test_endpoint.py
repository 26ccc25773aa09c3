"""Valid endpoints and tokens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.endpoint import DEFAULT_ENDPOINT, parse_endpoint
from batchform.api.secret import Redactor, check_token
from batchform.errors import UsageError

GOOD = {
    "https://api.experianaperture.io": "https://api.experianaperture.io",
    "https://api.experianaperture.io/": "https://api.experianaperture.io",
    "HTTPS://API.ExperianAperture.io:443": "https://api.experianaperture.io",
    "https://localhost:8443": "https://localhost:8443",
    "https://10.1.2.3": "https://10.1.2.3",
    "https://[2001:DB8:0::1]:444": "https://[2001:db8::1]:444",
    "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
    "http://127.0.0.1:8080": "http://127.0.0.1:8080",
    "http://127.0.0.1:80/": "http://127.0.0.1",
    "http://127.9.8.7:1": "http://127.9.8.7:1",
    "http://[::1]:8080": "http://[::1]:8080",
}

BAD = [
    "",
    "api.experianaperture.io",
    "//api.experianaperture.io",
    "ftp://api.experianaperture.io",
    "http://api.experianaperture.io",
    "http://localhost:8080",
    "http://localhost.:8080",
    "http://127.1:8080",
    "http://2130706433",
    "http://0x7f.0.0.1",
    "http://0177.0.0.1",
    "http://0.0.0.0:80",
    "http://127.0.0.1.example.org",
    "http://127.0.0.1@evil.example",
    "http://[::ffff:127.0.0.1]",
    "http://[::1%25lo]",
    "http://[::2]",
    "https://[fe80::1%eth0]",
    "https://[::1",
    "https://::1",
    "https://[v1.x]",
    "https://[a]",
    "https://user:hunter2@host",
    "https://user@host",
    "https://host/prefix",
    "https://host//",
    "https://host?",
    "https://host/?a=b",
    "https://host#",
    "https://host:",
    "https://host:0",
    "https://host:65536",
    "https://host:+1",
    "https://host:8 0",
    "https://",
    "https:///",
    "https://:443",
    "https://-host",
    "https://ho_st",
    "https://host.",
    "https://a..b",
    "https://bücher.example",
    "https://host\\@evil",
    "https://host\n",
    " https://host",
    "https://ho\tst",
    "https://host\x00",
    "https://%61",
    "https://" + "a" * 64,
    "https://" + "a." * 127 + "ab",
]


@pytest.mark.parametrize(("text", "normal"), GOOD.items(), ids=GOOD)
def test_an_origin_is_taken_in_its_normal_form(text: str, normal: str) -> None:
    """Letter case, default ports and a single slash do not matter."""
    endpoint = parse_endpoint(text)
    assert str(endpoint) == normal
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize("text", BAD, ids=[repr(text)[:40] for text in BAD])
def test_what_could_lead_the_token_elsewhere_is_refused(text: str) -> None:
    """Each is a usage error that says that nothing was sent."""
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text)
    assert caught.value.summary == "The endpoint is not usable"
    assert caught.value.detail.endswith("Nothing was sent.")
    assert "hunter2" not in str(caught.value) + caught.value.detail


def test_plain_http_says_what_is_accepted() -> None:
    """The message names the loopback addresses."""
    with pytest.raises(UsageError) as caught:
        parse_endpoint("http://localhost:8080")
    assert "127.0.0.1 or [::1]" in caught.value.detail


def test_the_default_is_an_endpoint() -> None:
    """It is in normal form."""
    assert parse_endpoint(str(DEFAULT_ENDPOINT)) == DEFAULT_ENDPOINT


@given(st.text() | st.text(alphabet="htps:/.[]@#?%127 0a-x\\").map("https://".__add__))
def test_any_text_is_an_endpoint_or_a_usage_error(text: str) -> None:
    """There is no other exception, and an accepted endpoint is parsed again to the same value."""
    try:
        endpoint = parse_endpoint(text)
    except UsageError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize("token", ["x", "3f0c1f6e-2a55-4d0e", "!~{}\"'<>&", "a" * 4096], ids=lambda t: t[:12])
def test_visible_ascii_is_a_token(token: str) -> None:
    """It is returned unchanged."""
    assert check_token(token) == token


@pytest.mark.parametrize(
    "token", ["", "a b", "secret\n", "secret\r\nX: y", "\tsecret", "sécret", "secret\x00", "\x7f", "a" * 4097], ids=repr
)
def test_another_token_is_refused_without_being_shown(token: str) -> None:
    """Neither the message nor its cause repeats it."""
    with pytest.raises(UsageError) as caught:
        check_token(token)
    error = caught.value
    assert "secret" not in f"{error} {error.summary} {error.detail} {error.__cause__!r}"


@given(token=st.text(alphabet=[chr(code) for code in range(33, 127)], min_size=8, max_size=40), around=st.text())
def test_a_token_is_redacted_everywhere(token: str, around: str) -> None:
    """In texts, headers and bodies."""
    redactor = Redactor(token)
    for found in (redactor.prose(around + token), redactor.header(token + around)):
        assert token not in found.replace("[token]", "\n")
    body = redactor.body((around + token).encode(), 200)
    assert token.encode() not in body.replace(b"[token]", b"\n")


def test_a_token_is_redacted_where_it_was_escaped() -> None:
    """For JSON, HTML and URLs."""
    redactor = Redactor('a/b"c&d<e>f')
    body = rb'{"a": "a/b\"c&d<e>f", "b": "a\/b\"c&d<e>f"} a/b&quot;c&amp;d&lt;e&gt;f a%2Fb%22c%26d%3Ce%3Ef'
    assert redactor.body(body, 200).count(b"[token]") == 4


PLUS = "bar+tok/en=3f0c1f6e-2a55"
ESCAPED = {
    "each character": "".join(f"\\u{ord(one):04x}" for one in PLUS),
    "some, as .NET does": PLUS.replace("+", "\\u002B"),
    "JSON within JSON": json.dumps(json.dumps(PLUS.replace("+", "\\u002b"))),
    "slashes": PLUS.replace("/", "\\/"),
    "a URL in lower case": PLUS.replace("+", "%2b").replace("/", "%2f").replace("=", "%3d"),
    "a URL twice": PLUS.replace("+", "%252B"),
    "HTML numbers": "".join(f"&#{ord(one)};" for one in PLUS),
    "HTML numbers in hexadecimal": PLUS.replace("b", "&#x62;"),
}


@pytest.mark.parametrize("spelling", ESCAPED.values(), ids=ESCAPED)
def test_a_token_is_redacted_however_it_is_escaped(spelling: str) -> None:
    """The decoder would make the token of it, or a reader would."""
    redactor = Redactor(PLUS)
    body = f'{{"result": {{"reason": "the token {spelling} ends"}}}}'
    for found in (redactor.body(body.encode(), 200).decode(), redactor.prose(body), redactor.header(body)):
        assert found.replace("\\", "").replace('"', "") == "{result: {reason: the token [token] ends}}"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_token_is_redacted_in_other_encodings(encoding: str) -> None:
    """The first bytes of a body that is no JSON are shown."""
    body = Redactor(PLUS).body(f"the {PLUS} \\u0062{PLUS[1:]}".encode(encoding), 400)
    assert body.count(b"[token]") == 2
    clean = "the reason".encode(encoding)
    assert Redactor(PLUS).body(clean, 400) is clean


def test_a_redactor_does_not_show_its_token() -> None:
    """It is not shown in a traceback either."""
    assert "hunter2" not in repr(Redactor("hunter2-hunter2"))


def test_a_short_token_is_redacted_only_where_people_read() -> None:
    """It could be part of any word in data for programs."""
    redactor = Redactor("sub")
    assert redactor.body(b'"submitted"', 200) == b'"submitted"'
    assert redactor.header("sub") == "sub"
    assert redactor.body(b"no sub", 401) == b"no [token]"
    assert redactor.prose("no sub") == "no [token]"


@pytest.mark.parametrize(
    "text", ["https://api.example/v1/hunter2", "https://api.example?key=hunter2", "x.example/hunter2"]
)
def test_the_path_of_an_endpoint_is_not_shown(text: str) -> None:
    """Some services put a key there."""
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text)
    assert "hunter2" not in caught.value.detail
    assert ".example' is not an origin" in caught.value.detail
