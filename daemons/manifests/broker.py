"""The example broker: a Mosquitto with TLS, a user for each host and each process, and what each may say and hear.

Whoever may write to a topic may forge what it says, so an agent writes under its own node's name alone. Any broker that
holds to the same table (`grants`) does as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.daemons.manifests.install import (
    BROKER_PORT,
    COORDINATOR_USER,
    WATCHER_USER,
    config_map,
    labels,
    made,
    mount,
    volume,
)
from sliceward.daemons.manifests.processes import PRIORITY, budget, confined, nobody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

QUEUED_BYTES = 256 * 2**20
"""Bytes that wait for one reader: two periods of 25,000 hosts; a watcher and a coordinator together take half of the broker's memory."""
NAME = "mosquitto"
USERS = "mosquitto-users"
TLS = "mosquitto-tls"
EACH_HOST = "%u"
"""The user whom a pattern of the ACL speaks of: an agent's is its node's name."""
MOSQUITTO = 1883
"""User and group of the image."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user may do with topics: ``access`` is ``read``, ``write`` or ``readwrite``."""

    access: str
    topic: str


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the broker finds its files and keeps its data."""

    config: str = "/mosquitto/config"
    users: str = "/mosquitto/users"
    tls: str = "/mosquitto/tls"
    data: str = "/mosquitto/data"


def grants(cluster: str) -> Mapping[str, tuple[Grant, ...]]:
    """Give all that each user of a cluster's broker may do; `EACH_HOST` stands for every host."""
    return {
        EACH_HOST: (
            *(Grant("write", topics.host(cluster, EACH_HOST, leaf)) for leaf in (topics.FRAME, topics.EVENT, topics.STATUS)),
            Grant("read", topics.host(cluster, EACH_HOST, topics.REQUEST)),
        ),
        # Its own retained words are read back after a start.
        WATCHER_USER: (
            Grant("read", topics.host(cluster, "+", topics.FRAME)),
            Grant("readwrite", topics.finding(cluster, "+")),
            Grant("readwrite", topics.progress(cluster, "+")),
            Grant("write", topics.watcher(cluster)),
        ),
        COORDINATOR_USER: (
            Grant("read", topics.finding(cluster, "+")),
            Grant("read", topics.progress(cluster, "+")),
            Grant("read", topics.watcher(cluster)),
            Grant("read", topics.host(cluster, "+", topics.EVENT)),
            Grant("write", topics.host(cluster, "+", topics.REQUEST)),
        ),
    }


def acl(cluster: str) -> str:
    """Give Mosquitto's ACL file. What is not allowed there is refused; there is no anonymous user."""
    table = dict(grants(cluster))
    lines = ["# An agent's user is the name of its node; what is not allowed here is refused."]
    lines += [f"pattern {grant.access} {grant.topic}" for grant in table.pop(EACH_HOST)]
    for user, allowed in table.items():
        lines += ["", f"user {user}", *(f"topic {grant.access} {grant.topic}" for grant in allowed)]
    return "\n".join(lines) + "\n"


def config(folders: Folders, *, port: int = BROKER_PORT) -> str:
    """Give Mosquitto's configuration. A frame is at most 1 MiB; more is cut off before it is read.

    For each reader that is held up messages wait up to a number and a size, whichever comes first, so that neither a large fleet nor
    large messages take the broker's memory.
    """
    return f"""\
listener {port}
certfile {folders.tls}/tls.crt
keyfile {folders.tls}/tls.key
allow_anonymous false
password_file {folders.users}/passwords
acl_file {folders.config}/acl
message_size_limit 1048576
max_queued_messages 10000
max_queued_bytes {QUEUED_BYTES}
persistence true
persistence_location {folders.data}/
log_dest stdout
log_type error
log_type warning
log_type notice
"""


def objects(install: Install) -> tuple[Object, ...]:
    """Give the example broker; nothing where the installation brings its own."""
    if install.broker_url:
        return ()
    marks = labels("broker")
    service = {"selector": marks, "ports": [{"name": "mqtts", "port": BROKER_PORT, "targetPort": "mqtts"}]}
    texts = {"mosquitto.conf": config(Folders()), "acl": acl(install.cluster)}
    return (
        config_map(NAME, install.namespace, texts),
        made("v1", "ServiceAccount", NAME, install.namespace, automountServiceAccountToken=False),
        _deployment(install),
        made("v1", "Service", NAME, install.namespace, labels=marks, spec=service),
        budget(install, NAME, "broker"),
    )


def _deployment(install: Install) -> Object:
    marks, folders = labels("broker"), Folders()
    container = {
        "name": NAME,
        "image": "eclipse-mosquitto:2",
        "args": ["mosquitto", "-c", f"{folders.config}/mosquitto.conf"],
        "ports": [{"name": "mqtts", "containerPort": BROKER_PORT}],
        "startupProbe": {"tcpSocket": {"port": "mqtts"}, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {"tcpSocket": {"port": "mqtts"}, "periodSeconds": 30},
        "readinessProbe": {"tcpSocket": {"port": "mqtts"}, "periodSeconds": 10},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": confined(),
        "volumeMounts": [
            mount("config", folders.config),
            mount("users", folders.users),
            mount("tls", folders.tls),
            mount("data", folders.data, read_only=False),
        ],
    }
    pod = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": PRIORITY,
        "securityContext": nobody(MOSQUITTO),
        "containers": [container],
        "volumes": [
            volume("config", configMap={"name": NAME}),
            volume("users", secret={"secretName": USERS, "defaultMode": 0o440}),
            volume("tls", secret={"secretName": TLS, "defaultMode": 0o440}),
            # A broker that comes back empty is filled again by those who speak.
            volume("data", emptyDir={"sizeLimit": "1Gi"}),
        ],
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": marks},
        "template": {"metadata": {"labels": marks}, "spec": pod},
    }
    return made("apps/v1", "Deployment", NAME, install.namespace, labels=marks, spec=spec)
