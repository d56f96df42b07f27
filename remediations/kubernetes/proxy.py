"""The proxy before an API server, read from the environment as ``kubectl`` reads it.

Python's own reading knows no ranges of addresses, takes the variables in lower case first and a proxy without a scheme as it stands.
The rules are those of Go's ``httpproxy`` (https://pkg.go.dev/golang.org/x/net/http/httpproxy).
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = IPv4Address | IPv6Address

_PORTS = {"http": "80", "https": "443"}


def proxy_of(url: str, environ: Mapping[str, str]) -> str | None:
    """Give the URL of the proxy that ``environ`` names for the server at ``url``; None: it is asked directly."""
    place = urlsplit(url)
    proxy = _whole(_named(environ, f"{place.scheme}_proxy"))
    if not proxy:
        return None
    host, port = (place.hostname or "").lower(), str(place.port or "") or _PORTS.get(place.scheme, "")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    left_out = (one.strip().lower() for one in _named(environ, "no_proxy").split(","))
    return None if any(one and _fits(one, host, port, address) for one in left_out) else proxy


def _named(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _whole(proxy: str) -> str:
    """Give a proxy with its scheme: ``proxy.example:3128`` speaks HTTP. "" where none is named, or what is named is no URL."""
    whole = proxy if "://" in proxy else f"http://{proxy}"
    try:
        return whole if urlsplit(whole).netloc else ""
    except ValueError:
        return ""


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
        if "/" in entry:
            return address is not None and address in ip_network(entry, strict=False)
    name, wanted = _split(entry)
    if wanted not in ("", port) or not name:
        return False
    if address is not None or _address(name) is not None:
        return _address(name) == address
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, str]:
    """Give name and port of an entry; an address of version 6 stands in brackets where a port follows."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, colon, port = entry.partition(":")
    return (name, port) if colon and ":" not in port else (entry, "")
