"""All actions by name. A new action is one file in this folder and one line below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.domain_give_back import GiveBackDomain
from sliceward.remediations.domain_mark import MarkDomain
from sliceward.remediations.evidence_keep import KeepEvidence
from sliceward.remediations.gang_checkpoint import CheckpointGang
from sliceward.remediations.gang_end_dead import EndDead
from sliceward.remediations.gang_place import PlaceGang
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.gang_resume import ResumeGang
from sliceward.remediations.gang_suspend import SuspendGang
from sliceward.remediations.gang_verify import VerifyGang
from sliceward.remediations.gang_wait_gone import WaitGone
from sliceward.remediations.host_burn_in import BurnIn
from sliceward.remediations.host_repair import RepairHost
from sliceward.remediations.human_hand_over import HandOver
from sliceward.remediations.node_cordon import CordonNode
from sliceward.remediations.node_uncordon import UncordonNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Action

_ALL: tuple[Action, ...] = (
    EndDead(),
    BurnIn(),
    CheckpointGang(),
    CordonNode(),
    GiveBackDomain(),
    HandOver(),
    KeepEvidence(),
    MarkDomain(),
    PlaceGang(),
    PlanGang(),
    RepairHost(),
    ResumeGang(),
    SuspendGang(),
    UncordonNode(),
    VerifyGang(),
    WaitGone(),
)

ACTIONS: Mapping[str, Action] = {action.name: action for action in sorted(_ALL, key=lambda action: action.name)}
"""Name -> action, as playbooks name them."""
