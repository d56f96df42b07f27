"""Which proxy stands before an API server: what ``kubectl`` does with the same environment."""

from __future__ import annotations

import pytest

from sliceward.remediations.kubernetes.proxy import proxy_of

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
        ("https://api.example", "10.0.0.0/8", True),
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
        ({"HTTPS_PROXY": "http://["}, None),
    ],
)
def test_a_proxy_is_named_for_a_scheme_in_capitals_first_and_need_not_name_its_own(
    environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of(SERVER, environ) == proxy
