"""The coordinator: one replica with SQLite on a volume, or two with PostgreSQL, of which a Lease says which one acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.daemons.manifests.install import (
    BROKER,
    CA,
    CONFIG,
    COORDINATOR_PORT,
    COORDINATOR_USER,
    DISK,
    STORE,
    TOKENS,
    Overlay,
    config_map,
    labels,
    made,
    mount,
    volume,
)
from sliceward.daemons.manifests.processes import Process, budget, deployment
from sliceward.daemons.manifests.yaml_out import text_of

if TYPE_CHECKING:
    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

NAME = "sliceward-coordinator"
ROLES = {"viewers": "view", "operators": "operate", "alertmanager": "alert"}
PATIENCE = 60
"""Seconds from SIGTERM to SIGKILL: calls under way are finished (``pace.call_timeout``), saved, and the lead is given back."""
TO_CHOOSE = """\
# Shipped playbooks start in Observe: they decide, tell and touch nothing. Raise them one by one:
# playbooks: {modes: {ici-link-in-cube: Approve}}
pagers: []
# - {name: on-call, kind: pagerduty, secret: {file: /etc/sliceward/tokens/pagerduty}}
"""


def config(install: Install) -> Object:
    """Give the coordinator's configuration, with what is usually changed first in comments."""
    broker = {
        "url": install.url,
        "username": COORDINATOR_USER,
        "password": {"file": f"{BROKER}/password"},
        "ca_file": f"{CA}/ca.crt",
    }
    tokens = [{"name": name, "role": role, "token": {"file": f"{TOKENS}/{role}"}} for name, role in ROLES.items()]
    settings: dict[str, Any] = {
        "clusters": [{"name": install.cluster, "broker": broker}],
        "store": {"url": f"sqlite:///{DISK}/sliceward.db"},
        "api": {"host": "0.0.0.0", "port": COORDINATOR_PORT, "tokens": tokens},  # noqa: S104 (its pod's)
    }
    if install.overlay is Overlay.HA:
        # The URL, without password, comes by environment from the Secret of the store.
        settings["store"] = {"password": {"file": f"{STORE}/password"}}
        settings["leader"] = {"lease": NAME, "namespace": install.namespace}
    return config_map(NAME, install.namespace, {"coordinator.yaml": text_of(settings) + TO_CHOOSE})


def objects(install: Install) -> tuple[Object, ...]:
    """Give everything of the coordinator but its rights."""
    service = {"selector": labels("coordinator"), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    claim = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "10Gi"}}}
    return (
        config(install),
        *(
            ()
            if install.overlay is Overlay.HA
            else (made("v1", "PersistentVolumeClaim", NAME, install.namespace, labels=labels("coordinator"), spec=claim),)
        ),
        deployment(install, _process(install)),
        made("v1", "Service", NAME, install.namespace, labels=labels("coordinator"), spec=service),
        budget(install, NAME, "coordinator"),
    )


def _process(install: Install) -> Process:
    ha = install.overlay is Overlay.HA
    mounts = [mount("config", CONFIG), mount("ca", CA), mount("broker", BROKER), mount("tokens", TOKENS)]
    volumes = [
        volume("config", configMap={"name": NAME}),
        volume("ca", configMap={"name": "sliceward-broker-ca"}),
        volume("broker", secret={"secretName": NAME, "defaultMode": 0o440}),
        volume("tokens", secret={"secretName": "sliceward-tokens", "defaultMode": 0o440}),
    ]
    if ha:
        mounts.append(mount("store", STORE))
        key = {"secretName": "sliceward-store", "defaultMode": 0o440, "items": [{"key": "password", "path": "password"}]}
        volumes.append(volume("store", secret=key))
    else:
        mounts.append(mount("store", DISK, read_only=False))
        volumes.append(volume("store", persistentVolumeClaim={"claimName": NAME}))
    return Process(
        component="coordinator",
        port=COORDINATOR_PORT,
        args=("coordinator", "--config", f"{CONFIG}/coordinator.yaml"),
        mounts=mounts,
        volumes=volumes,
        env=_environment() if ha else (),
        replicas=2 if ha else 1,
        more={"terminationGracePeriodSeconds": PATIENCE} | (_apart() if ha else {}),
    )


def _environment() -> tuple[Object, ...]:
    """Give where the store is, and where the other replica reaches this one while it leads."""
    url = {"secretKeyRef": {"name": "sliceward-store", "key": "url"}}
    return (
        {"name": "SLICEWARD_STORE_URL", "valueFrom": url},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SLICEWARD_LEADER__ADDRESS", "value": f"http://$(POD_IP):{COORDINATOR_PORT}"},
    )


def _apart() -> Object:
    """Keep the replicas on two hosts where there are two."""
    term = {"labelSelector": {"matchLabels": labels("coordinator")}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}
