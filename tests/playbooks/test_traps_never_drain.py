"""What only looks like sick hardware reaches people and nothing else, in every mode."""

from __future__ import annotations

import pytest

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.playbooks.load import load_book
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS

KINDS = sorted(
    {trap.kind for trap in TRAPS.values()}
    | {Kind.COLLECTIVE_STUCK, Kind.DEVICE_OCCUPIED, Kind.HOST_DYING, Kind.PROVIDER_DISAGREES}
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_playbook_for_a_trap_does_harm(kind: Kind) -> None:
    playbooks = load_book(shipped(), ACTIONS).for_kind(kind)
    assert playbooks
    for playbook in playbooks:
        steps = [step.action for step in (*playbook.spec.steps, *playbook.spec.on_failure)]
        assert not [action for action in steps if ACTIONS[action].harm or ACTIONS[action].irreversible]
