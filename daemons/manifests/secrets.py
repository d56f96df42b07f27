"""The Secrets that the example needs: a password for each host and process at the broker, a token for each role at the API.

All follow from one key, so that making them again for one host more changes no other. The key never leaves its file.
One that is known to strangers is turned: of whom, and how often, is told beside the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from types import MappingProxyType
from typing import TYPE_CHECKING

from sliceward.daemons.manifests import agent, broker, coordinator, watcher
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER, made
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

SHORTEST_KEY = 32
NEVER: Mapping[str, int] = MappingProxyType({})
MOST_BYTES = 1 << 20
"""What one Secret may hold."""
_ROUNDS, _SALT = 101, 12
"""Mosquitto's own (its ``mosquitto_passwd``); a derived password is no word that could be guessed."""


def password_of(key: bytes, cluster: str, user: str, turns: int = 0) -> str:
    """Give the password of a user of this cluster's broker: 256 bits that only the key tells; another after each turn."""
    return _word(key, f"broker/{cluster}/{user}", turns)


def token_of(key: bytes, cluster: str, role: str, turns: int = 0) -> str:
    """Give the API token of a role; another after each turn."""
    return _word(key, f"api/{cluster}/{role}", turns)


def token_name(role: str) -> str:
    """Give how a role's token is called where it is turned; no node can have such a name."""
    return f"token:{role}"


def password_file(key: bytes, cluster: str, nodes: Iterable[str], turned: Mapping[str, int] = NEVER) -> str:
    """Give Mosquitto's password file (PBKDF2 with SHA-512, the form ``$7$`` of ``mosquitto_passwd``)."""
    lines = []
    for user in (WATCHER_USER, COORDINATOR_USER, *sorted(set(nodes))):
        salt = _derived(key, f"salt/{cluster}/{user}")[:_SALT]
        password = password_of(key, cluster, user, turned.get(user, 0))
        digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
        lines.append(f"{user}:$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}")
    return "\n".join(lines) + "\n"


def objects(install: Install, nodes: Iterable[str], key: bytes, turned: Mapping[str, int] = NEVER) -> tuple[Object, ...]:
    """Give the Secrets for these TPU nodes. ``turned``: how often a node's or user's password or a `token_name` was turned.

    Raises:
        Misconfigured: a key that is too short, a name that no node can have, or more nodes than one Secret holds.
    """
    names = sorted(set(nodes))
    if len(key) < SHORTEST_KEY:
        raise Misconfigured("key", f"has {len(key)} bytes, at least {SHORTEST_KEY} are needed", "openssl rand -hex 32 > FILE")
    for name in names:
        HostId(install.cluster, name)
        if "_" in name:
            raise Misconfigured(f"node {name!r}", "is no name of a node", "List the names of the TPU nodes, one a line")
    cluster = install.cluster
    passwords = {user: password_of(key, cluster, user, turned.get(user, 0)) for user in (WATCHER_USER, COORDINATOR_USER, *names)}
    tokens = {role: token_of(key, cluster, role, turned.get(token_name(role), 0)) for role in coordinator.ROLES.values()}
    found = (
        _secret(broker.USERS, install.namespace, {"passwords": password_file(key, cluster, names, turned)}),
        _secret(watcher.NAME, install.namespace, {"password": passwords[WATCHER_USER]}),
        _secret(coordinator.NAME, install.namespace, {"password": passwords[COORDINATOR_USER]}),
        _secret("sliceward-tokens", install.namespace, tokens),
        _secret(agent.PASSWORDS, install.agents_namespace, {name: passwords[name] for name in names}),
    )
    return found[1:] if install.broker_url else found


def _secret(name: str, namespace: str, texts: Mapping[str, str]) -> Object:
    size = sum(len(key) + len(text) for key, text in texts.items())
    if size > MOST_BYTES * 3 // 4:
        raise Misconfigured(
            f"Secret {name}", f"would hold {size} bytes", "The example broker is for fewer hosts: use one with its own user store"
        )
    return made("v1", "Secret", name, namespace, type="Opaque", stringData=dict(texts))


def _word(key: bytes, what: str, turns: int) -> str:
    return base64.urlsafe_b64encode(_derived(key, f"{what}/{turns}" if turns else what)).decode().rstrip("=")


def _derived(key: bytes, what: str) -> bytes:
    return hmac.digest(key, what.encode(), "sha256")
