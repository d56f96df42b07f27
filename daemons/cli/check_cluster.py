"""One Kubernetes cluster as it is reached from here, as lines of `sliceward check`: credentials, clock, rights."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.daemons.cli.check_files import mistake
from sliceward.daemons.cli.lines import Line, well, wrong
from sliceward.daemons.coordinator.side import KINDS
from sliceward.playbooks.schema import Mode
from sliceward.remediations import kubernetes
from sliceward.remediations.action import Verb
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import Kind
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sliceward.daemons.settings import ClusterSettings
    from sliceward.playbooks.load import Book
    from sliceward.remediations.kubernetes.cluster import KubernetesCluster

REVIEW = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False)
MOST_SKEW = timedelta(seconds=30)
_UNAUTHORIZED = " 401 "

Right = tuple[str, str, str, str]
"""API group, resource, verb, and the namespace or "" for all."""


def needs(book: Book | None, *, own: str) -> dict[Right, str]:
    """Give each right that the coordinator needs, with who needs it; ``own`` is the namespace that it runs in.

    A playbook in Observe writes nothing, so its actions need no right yet.
    """
    reads = [Verb(kind.api.rpartition("/")[0], kind.plural, ("list", "watch")) for kind in KINDS]
    found = dict(_rights(reads, "reading", own))
    for playbook in book.playbooks if book is not None else ():
        if playbook.mode is Mode.OBSERVE:
            continue
        steps = [*playbook.steps, *playbook.on_failure]
        for name in sorted({step.spec.action for step in steps} | {step.inverse for step in steps if step.inverse}):
            for right, who in _rights(ACTIONS[name].verbs, f"{name} of {playbook.name}", own):
                found.setdefault(right, who)
    return found


def _rights(verbs: Iterable[Verb], who: str, own: str) -> Iterator[tuple[Right, str]]:
    for verb in verbs:
        for name in verb.verbs:
            yield (verb.group, verb.resource, name, own if verb.own else ""), who


async def cluster(settings: ClusterSettings, wanted: Mapping[Right, str]) -> list[Line]:
    """Ask the API server who we are to it, and what it lets us do."""
    about = f"API server of {settings.name}, from here"
    try:
        async with kubernetes.connect(settings.name, kubeconfig=settings.kubeconfig, context=settings.context) as link:
            lines = [well(about, f"Kubernetes {await link.version()} answers"), await _clock(settings.name, link)]
            return [*lines, *await _may(settings.name, link, wanted)]
    except Misconfigured as error:
        return [mistake(about, error)]
    except (Retry, Refused) as error:
        hint = "Start it, or correct the server's address in the kubeconfig."
        if _UNAUTHORIZED in f" {error} ":
            hint = "The token or certificate is not known there: renew it, or name another context."
        return [wrong(about, str(error), hint)]


async def _clock(name: str, link: KubernetesCluster) -> Line:
    about = f"clock of {name}"
    told = await link.clock()
    if told is None:
        return well(about, "the API server does not tell its time")
    skew = datetime.now(UTC) - told
    if abs(skew) <= MOST_SKEW:
        return well(about, f"within {MOST_SKEW.seconds} s of ours")
    found = f"the API server's clock is {abs(skew).total_seconds():.0f} s {'behind' if skew > timedelta(0) else 'ahead of'} ours"
    return wrong(about, found, "Set the clocks by NTP: ages, leases and signatures depend on them.")


async def _may(name: str, link: KubernetesCluster, wanted: Mapping[Right, str]) -> list[Line]:
    about = f"rights in {name}"
    answers = await asyncio.gather(*(_allowed(link, right) for right in wanted))
    lines = [
        wrong(
            about,
            f"we may not {_told(right)}, which {who} needs (403)",
            "Apply the roles of `sliceward manifests`, or `deploy/`.",
        )
        for (right, who), allowed in zip(wanted.items(), answers, strict=True)
        if not allowed
    ]
    return lines or [well(about, f"all {len(wanted)} rights that are needed are there")]


def _told(right: Right) -> str:
    group, resource, verb, namespace = right
    return f"{verb} {resource}" + (f".{group}" if group else "") + (f" in {namespace}" if namespace else "")


async def _allowed(link: KubernetesCluster, right: Right) -> bool:
    group, resource, verb, namespace = right
    about = {"group": group, "resource": resource, "verb": verb, "namespace": namespace}
    body = {"apiVersion": REVIEW.api, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": about}}
    answer = await link.create(REVIEW, body)
    return bool(answer.get("status", {}).get("allowed"))
