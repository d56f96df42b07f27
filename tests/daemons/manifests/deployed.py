"""What `sliceward manifests` describes, for real: its broker with TLS, users and ACL, and its service accounts' tokens.

For every test whose daemons should run with exactly those rights::

    with broker_as_deployed(folder, cluster="c1", nodes=["h1", "h2"]) as broker:
        broker.url, broker.ca, broker.password("h1")
    kubeconfig = kubeconfig_of(admin, kubectl, account=("sliceward", "sliceward-watcher"), file=folder / "watcher")
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sliceward.daemons.manifests import agent, namespace, rbac, secrets
from sliceward.daemons.manifests.broker import Folders, acl, config
from sliceward.daemons.manifests.install import Install, Overlay
from sliceward.playbooks.shipped import shipped
from tests.services.processes import accepts, free_port, need_program, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/install.md"
KEY = b"0123456789abcdef" * 4
SHIPPED = rbac.actions_of(shipped())


def an_install(overlay: Overlay = Overlay.SINGLE_CLUSTER, *, cluster: str = "tpu", **chosen: object) -> Install:
    """Give an installation of the shipped playbooks."""
    return Install(actions=SHIPPED, overlay=overlay, cluster=cluster, **chosen)  # type: ignore[arg-type]  # fields of Install


@dataclass(frozen=True)
class Broker:
    """A Mosquitto as deployed. ``ca``: the file that proves it."""

    url: str
    port: int
    ca: Path
    cluster: str
    log: Path
    key: bytes = field(default=KEY, repr=False)

    def password(self, user: str) -> str:
        """Give the password of a user."""
        return secrets.password_of(self.key, self.cluster, user)


def certificate(folder: Path) -> Path:
    """Make authority and certificate with the commands that people are told, for loopback too; give the authority's file."""
    need_program("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    (told,) = re.findall(r"^```\n(openssl req -x509.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    commands = told.replace("DNS:mosquitto.sliceward.svc", "DNS:mosquitto.sliceward.svc,DNS:localhost,IP:127.0.0.1")
    subprocess.run(["bash", "-e", "-c", commands], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607 (lines of our own page)
    return folder / "ca.crt"


@contextmanager
def broker_as_deployed(
    folder: Path, *, cluster: str, nodes: Sequence[str], port: int = 0, more_acl: str = ""
) -> Iterator[Broker]:
    """Run Mosquitto with the configuration, ACL and password file that are deployed; ``admin`` may do what ``more_acl`` says."""
    program, port = need_program("mosquitto", variable="SLICEWARD_MOSQUITTO"), port or free_port()
    folders = Folders(*(str(folder / name) for name in ("config", "users", "tls", "data")))
    for each in ("config", "users", "data"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    ca = folder / "tls" / "ca.crt"
    if not ca.exists():
        certificate(folder / "tls")
    (folder / "config" / "acl").write_text(acl(cluster) + more_acl, encoding="utf-8")
    (folder / "users" / "passwords").write_text(secrets.password_file(KEY, cluster, [*nodes, "admin"]), encoding="utf-8")
    (folder / "users" / "passwords").chmod(0o600)
    as_root = "user root\n" if os.geteuid() == 0 else ""
    file = folder / "config" / "mosquitto.conf"
    file.write_text(config(folders, port=port) + as_root, encoding="utf-8")
    with server([program, "-c", file], folder=folder, ready=accepts(port)):
        yield Broker(f"mqtts://127.0.0.1:{port}", port, ca, cluster, folder / "log")


def token_of(admin: Path, kubectl: str, account: tuple[str, str]) -> str:
    """Give a token of a service account (namespace, name), by TokenRequest."""
    namespace, name = account
    command = [kubectl, "--kubeconfig", str(admin), "--namespace", namespace, "create", "token", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 (found by the fixture)


def kubeconfig_of(admin: Path, kubectl: str, *, account: tuple[str, str], file: Path) -> Path:
    """Write a kubeconfig with which one is a service account and nobody else."""
    found = yaml.safe_load(admin.read_text(encoding="utf-8"))
    for user in found["users"]:
        user["user"] = {"token": token_of(admin, kubectl, account)}
    file.write_text(yaml.safe_dump(found), encoding="utf-8")
    return file


def kubeconfigs_as_deployed(install: Install, admin: Path, kubectl: str, folder: Path) -> dict[str, Path]:
    """Apply the shipped rights, and write a kubeconfig for watcher and coordinator with which each is its own service account."""
    kubectl_apply(kubectl, admin, [*namespace.namespaces(install), *rbac.objects(install)])
    return {
        name: kubeconfig_of(admin, kubectl, account=account, file=folder / f"{name}.kubeconfig")
        for name, account in rbac.accounts(install).items()
        if name != "agent"
    }


def kubectl_apply(kubectl: str, server: Path, objects: Sequence[object]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    command = [kubectl, "--kubeconfig", str(server), "apply", "--filename", "-"]
    subprocess.run(command, input=text, check=True, capture_output=True, text=True)  # noqa: S603 (found by the fixture)


def with_the_agents_capabilities() -> list[str]:
    """Give what makes a process root with the capabilities of the manifest alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can give up capabilities")
    only = ",".join(["-all", *(f"+{name.lower()}" for name in agent.CAPABILITIES)])
    return [need_program("setpriv"), f"--bounding-set={only}", f"--inh-caps={only}"]
