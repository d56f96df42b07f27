"""gang.verify: see that the gang runs whole where it was planned, and that it steps as fast as before."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from sliceward.remediations import hurt
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.gangs.kind import Suspension
from sliceward.remediations.given import share
from sliceward.remediations.nodes import some
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.remediations.ports import POD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.remediations.action import Target
    from sliceward.remediations.gangs.kind import WantedSlice
    from sliceward.remediations.ports import Object, Ports

RATE_SHARE = 0.9


class VerifyGang:
    """Rank order inside a slice is not looked at: only a topology assignment promises one, and its gangs are held."""

    name: str = "gang.verify"
    about: str = "Check that every slice runs whole inside one planned slice, off the domain, and at its former step rate."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {"rate": "share of the former step rate that must be reached (default 0.9)"}
    verbs: tuple[Verb, ...] = (
        Verb("jobset.x-k8s.io", "jobsets", ("get",)),
        Verb("batch", "jobs", ("get",)),
        Verb("", "pods", ("list",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Wait while something is still to come; fail on what waiting will not change."""
        match await hurt.find(target, ports.cluster):
            case hurt.Gone(why) if why.endswith("finished by itself"):
                return Done(f"{why} after the move", {"gang_ended": True})
            case hurt.Gone(why) if target.facts.get("gang_ended"):
                return Done(f"{why}: nothing to verify", {"gang_ended": True})
            case hurt.Gone(why):
                return Done(why, {"gang_ended": True}) if why == "no gang is hurt" else Failed(why)
            case hurt.Held() as held:
                return hurt.for_a_human(held)
            case hurt.Hurt() as found:
                pass
        if found.kind.suspension(found.owner) is not Suspension.NOT:
            return Failed(f"{found.id} was suspended again by somebody else")
        pods = await ports.cluster.list(POD, namespace=found.id.namespace, labels=found.kind.pods(found.id.name))
        living = [pod for pod in pods if not hurt.has_ended(pod)]
        return _running(found, pods) or _placed(found, living, target) or _stepping(target, len(living))


def _running(found: hurt.Hurt, pods: Sequence[Object]) -> Wait | None:
    """Wait until every pod that should be is Running and Ready; one of a role without TPUs may have finished instead."""
    of: dict[tuple[str, int], list[Object]] = defaultdict(list)
    for pod in pods:
        of[found.kind.place_of(pod)].append(pod)
    for piece in found.kind.wanted(found.owner):
        here = of.pop((piece.role, piece.index), [])
        living = [pod for pod in here if not hurt.has_ended(pod)]
        ready = sum(_ready(pod) for pod in living)
        finished = 0 if piece.tpu else sum(_succeeded(pod) for pod in here)
        whole = len(living) == piece.pods if piece.tpu else len(living) + finished >= piece.pods
        if not whole or ready != len(living):
            done = f", {finished} finished" if finished else ""
            return Wait(SOON, f"slice {piece.role}/{piece.index}: {ready} of {piece.pods} pods ready{done}")
    strays = sum(not hurt.has_ended(pod) for others in of.values() for pod in others)
    return Wait(SOON, f"{strays} pods belong to no slice of the gang") if strays else None


def _succeeded(pod: Object) -> bool:
    return hurt.has_ended(pod) and pod["status"]["phase"] == "Succeeded"


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    running = pod.get("status", {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    return running and any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _placed(found: hurt.Hurt, pods: Sequence[Object], target: Target) -> Failed | None:
    """Fail where the gang runs, but not whole, or not where it should: waiting changes no node of a running pod."""
    domain = {host.name for host in target.domain}
    sick = sorted({hurt.node_of(pod) for pod in pods} & domain)
    if sick:
        return Failed(f"{found.id} runs on hosts that are out of service: {some(sick)}")
    planned = {frozenset(map(str, piece["hosts"])) for piece in target.facts.get("planned_slices", ())}
    used: set[frozenset[str]] = set()
    for piece in found.kind.wanted(found.owner):
        if not piece.tpu:
            continue
        hosts = _hosts_of(found, pods, piece)
        room = next((slice_hosts for slice_hosts in planned if hosts <= slice_hosts), None) if planned else _cubes(hosts, target)
        if room is None:
            return Failed(f"slice {piece.role}/{piece.index} is mixed: on {some(hosts, 20)}, which is no single planned slice")
        if room in used:
            return Failed(f"slice {piece.role}/{piece.index} shares the slice of another: on {some(hosts, 20)}")
        if len(hosts) != piece.pods:
            return Failed(f"slice {piece.role}/{piece.index}: {piece.pods} pods on {len(hosts)} hosts")
        used.add(room)
    return None


def _hosts_of(found: hurt.Hurt, pods: Sequence[Object], piece: WantedSlice) -> frozenset[str]:
    return frozenset(hurt.node_of(pod) for pod in pods if found.kind.place_of(pod) == (piece.role, piece.index))


def _cubes(hosts: frozenset[str], target: Target) -> frozenset[str] | None:
    """Without a plan: all hosts of the cubes that hold these, if they are no more cubes than so many hosts fill."""
    cubes = [frozenset(host.name for host in cube.hosts) for cube in target.fleet.cubes.values()]
    touched = [cube for cube in cubes if cube & hosts]
    room = frozenset[str]().union(*touched)
    fewest = max(1, len(hosts) // max(map(len, touched), default=1))
    return room if touched and len(touched) <= fewest and hosts <= room else None


def _stepping(target: Target, pods: int) -> Outcome:
    """Compare the step rate, measured after the resume, with the one before; without a reporter there is none."""
    progress = target.progress
    if progress is None and not target.facts.get("reporter"):
        return Done(f"all {pods} pods ready and whole; no reporter, so the step rate is not known", {"rate": None})
    if progress is None or progress.rate is None or progress.at <= _resumed(target):
        return Wait(SOON, f"all {pods} pods ready and whole; no step reported since the resume yet")
    before = target.facts.get("rate_before") or progress.rate_before
    wanted = share(target.given, "rate", RATE_SHARE) * float(before) if before else 0.0
    if progress.rate <= 0 or progress.rate < wanted:
        return Wait(SOON, f"steps at {progress.rate:.3g}/s, {wanted:.3g}/s wanted")
    text = f"all {pods} pods ready and whole, stepping at {progress.rate:.3g}/s"
    return Done(text + (f" ({before:.3g}/s before)" if before else ""), {"rate": progress.rate, "step": progress.step})


def _resumed(target: Target) -> datetime:
    noted = target.facts.get("resumed_at")
    return datetime.fromisoformat(str(noted)) if noted else target.started
