"""One Kubernetes cluster as it is reached from here, as lines of `sliceward check`: credentials, clock, rights."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.daemons.cli.check_files import mistake
from sliceward.daemons.cli.lines import Line, well, wrong
from sliceward.daemons.coordinator.side import KINDS
from sliceward.daemons.manifests.rbac import SWEEP
from sliceward.playbooks.schema import Mode
from sliceward.remediations import kubernetes
from sliceward.remediations.action import Verb
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import Kind
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sliceward.daemons.coordinator.settings import LeaderSettings
    from sliceward.daemons.settings import ClusterSettings
    from sliceward.playbooks.load import Book
    from sliceward.remediations.kubernetes.cluster import KubernetesCluster

REVIEW = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False)
MOST_SKEW = timedelta(seconds=30)
_UNAUTHORIZED = " 401 "

OLDEST = (1, 31)
"""Kubernetes: ``appArmorProfile`` came with 1.30, and ``recursiveReadOnly``, without which a mount below /dev or /sys could be written, with 1.31."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Right:
    """What we must be let do. ``namespace`` "": in all; ``name`` "": to any of them."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """Say it as people do."""
        named = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}{named}" + (
            f" in {self.namespace}" if self.namespace else ""
        )


def to_mirror(kinds: Iterable[Kind]) -> dict[Right, str]:
    """Give the rights that keeping copies of these kinds needs, with who needs them."""
    reads = [Verb(kind.api.rpartition("/")[0], kind.plural, ("list", "watch")) for kind in kinds]
    return dict(_rights(reads, "reading", ""))


def to_lead(settings: LeaderSettings) -> dict[Right, str]:
    """Give the rights that the Lease needs, with who needs them. Only ``create`` is of no name."""
    about = {"group": "coordination.k8s.io", "resource": "leases", "namespace": settings.namespace}
    one = {verb: Right(**about, verb=verb, name=settings.lease) for verb in ("get", "patch")}
    return dict.fromkeys((Right(**about, verb="create"), *one.values()), "leader.lease")


def needs(book: Book | None, *, own: str) -> dict[Right, str]:
    """Give each right that the coordinator needs, with who needs it; ``own`` is the namespace that it runs in.

    A playbook in Observe writes nothing, so its actions need no right yet; what one left behind is given back all the same.
    """
    found = to_mirror(KINDS)
    found |= _rights(SWEEP, "giving back marks", own)
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
            yield Right(verb.group, verb.resource, name, own if verb.own else ""), who


async def cluster(settings: ClusterSettings, wanted: Mapping[Right, str]) -> list[Line]:
    """Ask the API server who we are to it, and what it lets us do."""
    about = f"API server of {settings.name}, from here"
    try:
        async with kubernetes.connect(settings.name, kubeconfig=settings.kubeconfig, context=settings.context) as link:
            lines = [_old_enough(about, await link.version()), await _clock(settings.name, link)]
            return [*lines, *await _may(settings.name, link, wanted)]
    except Misconfigured as error:
        return [mistake(about, error)]
    except (Retry, Refused) as error:
        hint = "Start it, or correct the server's address in the kubeconfig."
        if _UNAUTHORIZED in f" {error} ":
            hint = "The token or certificate is not known there: renew it, or name another context."
        return [wrong(about, str(error), hint)]


def _old_enough(about: str, version: str) -> Line:
    read = _VERSION.match(version)
    if read is not None and (int(read[1]), int(read[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return wrong(about, f"Kubernetes {version} answers, and {oldest} is the oldest that will do", "Upgrade the cluster.")
    return well(about, f"Kubernetes {version} answers")


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
            f"we may not {right}, which {who} needs (403)",
            "Apply the roles of `sliceward manifests`, or `deploy/`.",
        )
        for (right, who), allowed in zip(wanted.items(), answers, strict=True)
        if not allowed
    ]
    return lines or [well(about, f"all {len(wanted)} rights that are needed are there")]


async def _allowed(link: KubernetesCluster, right: Right) -> bool:
    about = asdict(right)
    body = {"apiVersion": REVIEW.api, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": about}}
    answer = await link.create(REVIEW, body)
    return bool(answer.get("status", {}).get("allowed"))
