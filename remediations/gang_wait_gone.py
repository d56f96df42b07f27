"""gang.wait_gone: wait until no pod of the gang is left. Resuming beside old pods mixes slices (7 of 14 when measured)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations import hurt
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.nodes import some
from sliceward.remediations.outcome import Done, Outcome, Wait
from sliceward.remediations.taken_over import taken_over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports


class WaitGone:
    """No condition of any object says this: ``Suspended=True`` comes a whole termination time earlier."""

    name: str = "gang.wait_gone"
    about: str = "Wait until no pod of the gang is left, listed fresh."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("", "pods", ("list",)),
        Verb("jobset.x-k8s.io", "jobsets", ("get",)),
        Verb("batch", "jobs", ("get",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """List the pods by the gang's label."""
        known = hurt.gang_and_kind(target)
        if known is None:
            return Done("no gang is hurt: nothing to wait for")
        if theirs := await taken_over(target, ports.cluster):
            return theirs
        left = await hurt.pods_left(*known, ports.cluster)
        if left and isinstance(await hurt.find(target, ports.cluster), hurt.Gone):
            # Another gang of the same name may run elsewhere by now: only what sits on the domain concerns us.
            domain = {host.name for host in target.domain}
            left = [pod for pod in left if hurt.node_of(pod) in domain]
        if left:
            where = {hurt.node_of(pod) for pod in left} - {""}
            return Wait(SOON, f"{len(left)} pods of the gang left, on {some(where) or 'no host'}", {"pods_left": len(left)})
        return Done("no pod of the gang is left", {"pods_left": 0})
