"""The proxy before an API server, read from the environment as ``kubectl`` reads it.

Python's own reading knows no ranges of addresses, takes the variables in lower case first and a proxy without a scheme as it stands.
The rules are those of Go's ``httpproxy`` (https://pkg.go.dev/golang.org/x/net/http/httpproxy). A proxy that cannot be used is never gone
around: where Go fails at each call, here the start does.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = IPv4Address | IPv6Address

_PORTS = {"http": "80", "https": "443"}
_RANGE = re.compile(r"/[0-9]+$")


def proxy_of(url: str, environ: Mapping[str, str]) -> str | None:
    """Give the URL of the proxy that ``environ`` names for the server at ``url``; None: it is asked directly.

    Raises:
        Misconfigured: ``url`` is none, or the proxy that is named for it cannot be used.
    """
    try:
        place = urlsplit(url)
        host, port = (place.hostname or "").lower(), str(place.port or "") or _PORTS.get(place.scheme, "")
    except ValueError as error:
        raise Misconfigured(f"server {url}", f"is no URL: {error}", "Name the API server as `https://HOST:PORT`") from error
    name, proxy = _named(environ, f"{place.scheme}_proxy")
    address = _address(host)
    if not proxy or host == "localhost" or (address is not None and address.is_loopback):
        return None
    left_out = (one.strip().lower() for one in _named(environ, "no_proxy")[1].split(","))
    return None if any(one and _fits(one, host, port, address) for one in left_out) else _whole(name, proxy)


def _named(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Give the variable that counts, and its value."""
    return next(((one, environ[one]) for one in (name.upper(), name) if environ.get(one)), (name, ""))


def _whole(name: str, proxy: str) -> str:
    """Give a proxy with its scheme: ``proxy.example:3128`` speaks HTTP. What is wrong is said without the value: it may hold a password."""
    whole = proxy if "://" in proxy else f"http://{proxy}"
    try:
        place = urlsplit(whole)
        usable = place.scheme in _PORTS and bool(place.hostname) and place.port != 0
    except ValueError:
        usable = False
    if not usable:
        why = "names no proxy that speaks HTTP or HTTPS, at a host and a port"
        raise Misconfigured(name, why, "Give it as `http://HOST:PORT`, or leave the server out with NO_PROXY")
    return whole


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _fits(entry: str, host: str, port: str, address: Address | None) -> bool:
    """Whether one entry leaves the server out: all (``*``), a range, an address or a domain, the last two also with a port."""
    if entry == "*":
        return True
    with suppress(ValueError):
        if _RANGE.search(entry):
            return address is not None and address in ip_network(entry, strict=False)
    name, wanted = _split(entry)
    if wanted not in ("", port) or not name:
        return False
    if address is not None or _address(name) is not None:
        return _address(name) == address
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, str]:
    """Give name and port of an entry; an address of version 6 stands in brackets where a port follows."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, colon, port = entry.partition(":")
    return (name, port) if colon and ":" not in port else (entry, "")
