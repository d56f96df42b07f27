"""``sliceward manifests``: print what is deployed, or write it as a kustomize tree; print the Secrets that it needs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sliceward.daemons.manifests import coordinator, rbac, secrets, tree
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER, Install, Overlay
from sliceward.daemons.manifests.yaml_out import documents
from sliceward.playbooks.shipped import shipped
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.remediations.ports import Object

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    "manifests",
    help="Print the Kubernetes objects of an installation, for `kubectl apply -f -`, or write them as a kustomize tree.",
)
@click.option(
    "--overlay",
    type=click.Choice([str(one) for one in Overlay]),
    default=str(Overlay.SINGLE_CLUSTER),
    show_default=True,
    help="One coordinator with SQLite on a volume, or two with PostgreSQL.",
)
@click.option("--out", type=_FOLDER, help="Write base and all overlays there, as in deploy/, instead of printing.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="How to print.")
@click.option("--cluster", help="Name of the cluster, as in ids and topics: it stands in every id.  [default: tpu]")
@click.option(
    "--namespace",
    help="Ours; the agents' is this with -agents; burn-ins must be told of another.  [default: sliceward]",
)
@click.option("--image", help="Image of watcher and coordinator.  [default: sliceward:VERSION]")
@click.option("--agent-image", help="Image of the agent.  [default: sliceward-agent:VERSION]")
@click.option("--broker-url", help="A broker of your own (mqtts://host:8883); without, the example Mosquitto comes along.")
@click.option(
    "--store-port",
    type=click.IntRange(1, 65535),
    default=5432,
    show_default=True,
    help="Port of PostgreSQL, for its NetworkPolicy.",
)
@click.option("--node-range", "node_ranges", multiple=True, metavar="CIDR", help="Addresses of TPU hosts; may be repeated.")
@click.option("--privileged-agent", is_flag=True, help="Let agents open device files, which runtimes else refuse.")
@click.option("--playbooks", type=_FOLDER, help="Folder with the playbooks in use, for the rights.  [default: the shipped]")
@click.option(
    "--secrets-for", type=_FILE, metavar="NODES", help="Print instead the Secrets for these TPU nodes (a file, one name a line)."
)
@click.option("--key", type=_FILE, help="File with the random text that passwords and tokens follow from.")
@click.option(
    "--turned",
    type=_FILE,
    help="File with a line for each time that a password or token was turned: a node, a user of the broker, or token:ROLE.",
)
def command(
    out: Path | None,
    output: str,
    secrets_for: Path | None,
    key: Path | None,
    turned: Path | None,
    **chosen: Any,  # noqa: ANN401 (click's)
) -> None:
    """Make the objects that the options describe."""
    install = install_of(**chosen)
    if secrets_for is not None:
        names = _names_in(secrets_for)
        _print(secrets.objects(install, names, _key_in(key), _turns_in(turned, names)), output)
    elif out is not None:
        write(install, out)
    else:
        _print(tree.objects(install), output)


def install_of(*, overlay: str, playbooks: Path | None = None, **chosen: Any) -> Install:  # noqa: ANN401 (fields of Install)
    """Give the installation that options describe; what is None keeps its default. Raises `Misconfigured`."""
    texts = shipped() if playbooks is None else _playbooks_in(playbooks)
    given = {name: value for name, value in chosen.items() if value is not None}
    return Install(actions=rbac.actions_of(texts), overlay=Overlay(overlay), **given)


def write(install: Install, folder: Path) -> None:
    """Write the kustomize tree; files of other names are left alone."""
    for name, text in tree.texts(install).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        click.echo(str(file))


def _print(objects: Sequence[Object], output: str) -> None:
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2))
    else:
        click.echo(documents(objects), nl=False)


def _playbooks_in(folder: Path) -> dict[str, str]:
    found = {file.name: file.read_text(encoding="utf-8") for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))}
    if not found:
        raise Misconfigured(f"--playbooks {folder}", "holds no YAML file", "Name a folder with playbooks")
    return found


def _turns_in(file: Path | None, nodes: Sequence[str]) -> Mapping[str, int]:
    """Count how often each name stands there, and say of those that are nobody's here: a host may be away, or misspelt."""
    turns = Counter(_names_in(file)) if file is not None else Counter[str]()
    tokens = map(secrets.token_name, coordinator.ROLES.values())
    for name in sorted(turns.keys() - {*nodes, WATCHER_USER, COORDINATOR_USER, *tokens}):
        click.echo(f"{file}: {name} is none of these nodes, no user of ours, and no token", err=True)
    return turns


def _names_in(file: Path) -> Sequence[str]:
    """Give the names in a list of nodes; ``kubectl get nodes -o name`` writes ``node/`` before each."""
    with click.open_file(str(file), encoding="utf-8") as lines:
        return [line.strip().removeprefix("node/") for line in lines if line.strip()]


def _key_in(file: Path | None) -> bytes:
    if file is None:
        raise Misconfigured("--key", "is needed for Secrets", "openssl rand -hex 32 > key, and name that file; keep it safe")
    return file.read_bytes().strip()
