"""Which proxy is used: curl's and `requests`' rules, read from variables that are an argument."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.endpoint import DEFAULT_ENDPOINT, parse_endpoint
from batchform.api.route import Route, choose_route, matching_entry, parse_proxy
from batchform.errors import UsageError

PROXY = "http://proxy.example:3128"
OTHER = "http://other.example:8080"


def chosen(option: str | None = None, endpoint: str = "https://api.example.com", **environ: str) -> str:
    """The proxy for an endpoint, `direct` for none."""
    route = choose_route(parse_endpoint(endpoint), environ, option)
    return "direct" if route.proxy is None else str(route.proxy)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "direct"),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": OTHER}, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": OTHER}, "direct"),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"all_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "ALL_PROXY": OTHER}, PROXY),
        ({"HTTPS_PROXY": "", "ALL_PROXY": OTHER}, OTHER),
        ({"HTTP_PROXY": PROXY, "http_proxy": PROXY}, "direct"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, "direct"),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "example.com"}, "direct"),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "", "NO_PROXY": "example.com"}, PROXY),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "*"}, "direct"),
        ({"HTTPS_PROXY": PROXY, "BATCHFORM_PROXY": OTHER}, OTHER),
        ({"HTTPS_PROXY": PROXY, "BATCHFORM_PROXY": ""}, "direct"),
        ({"HTTPS_PROXY": PROXY, "BATCHFORM_PROXY": OTHER, "NO_PROXY": "*"}, OTHER),
        ({"BATCHFORM_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": f"  {PROXY} "}, PROXY),
    ],
)
def test_the_variables_decide(environ: dict[str, str], expected: str) -> None:
    """In either case; batchform's own variable overrides the others, and empty means none."""
    assert chosen(**environ) == expected


def test_the_option_wins() -> None:
    """Over every variable; empty means no proxy."""
    environ = {"BATCHFORM_PROXY": OTHER, "HTTPS_PROXY": OTHER, "NO_PROXY": "*"}
    assert chosen(PROXY, **environ) == PROXY
    assert chosen("", **environ) == "direct"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080", "https://127.9.9.9", "http://[::1]:80", "https://[::1]"])
def test_a_loopback_address_never_uses_a_proxy(endpoint: str) -> None:
    """Not even with an option: the proxy would reach another machine by that address."""
    assert chosen(PROXY, endpoint, HTTPS_PROXY=PROXY) == "direct"


@pytest.mark.parametrize("endpoint", ["https://localhost:8443", "https://10.0.0.7", "https://[::ffff:127.0.0.1]"])
def test_other_hosts_do(endpoint: str) -> None:
    """`localhost` is a name, and a name may mean another machine."""
    assert chosen(None, endpoint, HTTPS_PROXY=PROXY) == PROXY


@pytest.mark.parametrize(
    ("entries", "host", "port", "expected"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("example.com", "example.com.evil", 443, False),
        (".example.com", "api.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("api.example.com", "example.com", 443, False),
        ("EXAMPLE.com", "api.example.COM", 443, True),
        ("example.com.", "api.example.com", 443, True),
        ("example.com", "example.com.", 443, True),
        ("example.com:443", "example.com", 443, True),
        ("example.com:8443", "example.com", 443, False),
        ("a.test, example.com ,b.test", "example.com", 443, True),
        ("a.test example.com", "example.com", 443, True),
        ("*", "anything", 1, True),
        ("", "example.com", 443, False),
        (",, ,", "example.com", 443, False),
        (".", "example.com", 443, False),
        ("10.0.0.0/8", "10.200.3.4", 443, True),
        ("10.1.2.3/8", "10.200.3.4", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/99", "10.0.0.1", 443, False),
        ("10.0.0.7", "10.0.0.7", 443, True),
        ("10.0.0.7:8443", "10.0.0.7", 8443, True),
        ("10.0.0.7:8443", "10.0.0.7", 443, False),
        ("0.0.7", "10.0.0.7", 443, False),
        ("fd00::/8", "fd12::1", 443, True),
        ("fd12:0::1", "fd12::1", 443, True),
        ("[fd12::1]:443", "fd12::1", 443, True),
        ("[fd12::1]:80", "fd12::1", 443, False),
        ("[fd12::1]", "fd12::1", 443, True),
        ("10.0.0.0/8", "fd12::1", 443, False),
        ("10.0.0.0/8", "ten.example", 443, False),
    ],
)
def test_no_proxy(entries: str, host: str, port: int, *, expected: bool) -> None:
    """Domains with and without a dot, ports, addresses, networks, and everything."""
    assert bool(matching_entry(entries, host, port)) is expected


@given(st.text(), st.sampled_from(["example.com", "10.0.0.7", "fd12::1"]))
def test_no_proxy_takes_any_text(entries: str, host: str) -> None:
    """What makes no sense matches nothing, and what matches is an entry of the list."""
    found = matching_entry(entries, host, 443)
    assert not found or found in entries


@pytest.mark.parametrize(
    ("url", "shown", "authorization"),
    [
        ("http://p.example", "http://p.example:80", ""),
        ("https://p.example/", "https://p.example:443", ""),
        ("p.example:3128", "http://p.example:3128", ""),
        ("http://[fd12::1]:3128", "http://[fd12::1]:3128", ""),
        ("http://10.0.0.7:3128", "http://10.0.0.7:3128", ""),
        ("http://squid_1:3128", "http://squid_1:3128", ""),
        ("http://ann:s3cret@p.example:3128", "http://p.example:3128", "ann:s3cret"),
        ("ann:s3cret@p.example:3128", "http://p.example:3128", "ann:s3cret"),
        ("http://ann%40corp:p%40ss%3Aw%25rd@p.example:3128", "http://p.example:3128", "ann@corp:p@ss:w%rd"),
        ("http://ann:p@ss@p.example:3128", "http://p.example:3128", "ann:p@ss"),
        ("http://k3y-4711@p.example:3128", "http://p.example:3128", "k3y-4711:"),
        ("http://zo%C3%AB:pw@p.example:3128", "http://p.example:3128", "zoë:pw"),
    ],
)
def test_what_a_proxy_may_look_like(url: str, shown: str, authorization: str) -> None:
    """The user and the password are decoded, go into one header, and are shown nowhere."""
    proxy = parse_proxy(url, "HTTPS_PROXY")
    assert str(proxy) == shown
    assert b64decode(proxy.authorization.removeprefix("Basic ")).decode() == authorization
    for secret in (proxy.password, proxy.authorization):
        assert not secret or secret not in f"{proxy!r} {proxy} {Route(proxy=proxy, reason='x')!r}"


@pytest.mark.parametrize(
    "url",
    [
        "socks5://u:s3cret@p.example:1080",
        "ftp://u:s3cret@p.example",
        "http://u:s3cret@",
        "http://u:s3cret@p.example:0",
        "http://u:s3cret@p.example:99999",
        "http://u:s3cret@p.example:port",
        "http://u:s3cret@p.example/path",
        "http://u:s3cret@p.example?x",
        "http://u:s3cret#@p.example",
        "http://u:s3cret/@p.example",
        "http://u:s3cret@p ex",
        "http://u:s3cret@p\nex",
        "http://u:s3cret@[::1",
        "http://u:s3cret@-p",
        "://u:s3cret@p",
    ],
)
def test_what_is_no_proxy_is_an_error_that_shows_nothing_of_it(url: str) -> None:
    """The setting is named, the value never."""
    with pytest.raises(UsageError) as caught:
        choose_route(DEFAULT_ENDPOINT, {"HTTPS_PROXY": url})
    assert "HTTPS_PROXY" in caught.value.detail
    assert "s3cret" not in f"{caught.value.summary} {caught.value.detail}"


def test_the_reason_names_the_setting() -> None:
    """For `batchform doctor`."""
    reasons = [
        choose_route(DEFAULT_ENDPOINT, {}).reason,
        choose_route(DEFAULT_ENDPOINT, {"https_proxy": PROXY}).reason,
        choose_route(DEFAULT_ENDPOINT, {"https_proxy": PROXY, "NO_PROXY": "a.test,experianaperture.io"}).reason,
        choose_route(DEFAULT_ENDPOINT, {"BATCHFORM_PROXY": ""}).reason,
        choose_route(DEFAULT_ENDPOINT, {}, PROXY).reason,
    ]
    assert reasons == [
        "no proxy is set",
        "https_proxy",
        "`experianaperture.io` in NO_PROXY",
        "BATCHFORM_PROXY is empty",
        "--proxy",
    ]


def test_secrets_to_redact() -> None:
    """The password and the encoded pair; a user without a password, which may be a key."""
    assert parse_proxy("http://ann:s3cret@p:1", "x").secrets == ("s3cret", "YW5uOnMzY3JldA==")
    assert parse_proxy("http://k3y@p:1", "x").secrets == ("k3y", "azN5Og==")
    assert parse_proxy("http://p:1", "x").secrets == ()
