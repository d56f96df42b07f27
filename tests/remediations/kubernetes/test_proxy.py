"""Which proxy stands before an API server: what ``kubectl`` does with the same environment."""

from __future__ import annotations

import pytest

from sliceward.remediations.kubernetes.proxy import proxy_of
from sliceward.topology.errors import Misconfigured

PROXY = "http://proxy.example:3128"
SERVER = "https://10.96.0.1:443"


@pytest.mark.parametrize(
    ("url", "left_out", "proxied"),
    [
        (SERVER, "", True),
        (SERVER, "10.0.0.0/8", False),
        (SERVER, "192.168.0.0/16, 10.96.0.9/12", False),
        (SERVER, "10.0.0.0/30", True),
        (SERVER, "10.0.0.0/80", True),
        (SERVER, "10.96.0.1", False),
        (SERVER, "10.96.0.1:443", False),
        (SERVER, "10.96.0.1:6443", True),
        (SERVER, "10.96.0", True),
        (SERVER, "0.1", True),
        (SERVER, "*", False),
        (SERVER, " , ,:443,", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
        ("https://[fd00::1]:6443", "fd00::1", False),
        ("https://[fd00::1]:6443", "10.0.0.0/8", True),
        ("https://api.example", "api.example", False),
        ("https://API.example", "Api.Example", False),
        ("https://api.example", "example", False),
        ("https://api.example", ".example", False),
        ("https://api.example", "*.example", False),
        ("https://example", ".example", True),
        ("https://example", "*.example", True),
        ("https://api.example", "pi.example", True),
        ("https://api.example", "example:443", False),
        ("https://api.example:6443", "example:443", True),
        ("https://api.example", "*example", True),
        ("https://example", "*example", True),
        ("https://api.example", "*pi.example", True),
        ("https://api.example", "10.0.0.0/8", True),
        (SERVER, "10.0.0.0/255.0.0.0", True),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
    ],
)
def test_servers_that_the_environment_leaves_out_are_asked_directly(url: str, left_out: str, *, proxied: bool) -> None:
    assert proxy_of(url, {"https_proxy": PROXY, "no_proxy": left_out}) == (PROXY if proxied else None)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "https_proxy": "http://another"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "elsewhere", "no_proxy": "10.0.0.0/8"}, PROXY),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": "proxy"}, "http://proxy"),
        ({"HTTPS_PROXY": "https://me:s3cr3t@proxy.example"}, "https://me:s3cr3t@proxy.example"),
    ],
)
def test_a_proxy_is_named_for_a_scheme_in_capitals_first_and_need_not_name_its_own(
    environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of(SERVER, environ) == proxy


@pytest.mark.parametrize(
    "proxy", ["http://[::1", "http://", "://", "http://proxy:port", "http://proxy:99999", "socks5://proxy:1080"]
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_never_gone_around(name: str, proxy: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        proxy_of(SERVER, {name: proxy})
    assert caught.value.where == name
    assert caught.value.what_to_do


def test_a_proxy_that_is_not_for_this_server_may_be_anything() -> None:
    assert proxy_of(SERVER, {"HTTPS_PROXY": "http://[", "NO_PROXY": "10.0.0.0/8"}) is None
    assert proxy_of("https://localhost", {"HTTPS_PROXY": "http://["}) is None


def test_the_password_of_a_proxy_is_not_told() -> None:
    with pytest.raises(Misconfigured) as caught:
        proxy_of(SERVER, {"HTTPS_PROXY": "http://me:s3cr3t@proxy:port"})
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("environ", [{}, {"HTTPS_PROXY": PROXY}], ids=["no proxy", "a proxy"])
@pytest.mark.parametrize("url", ["https://h:notaport", "https://h:99999", "https://[fd00::1"])
def test_a_server_that_no_url_names_is_a_mistake_of_configuration(url: str, environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as caught:
        proxy_of(url, environ)
    assert url in caught.value.where
    assert caught.value.what_to_do
