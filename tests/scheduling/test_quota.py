"""Quota is read with care, counted in chips, and never keeps a gang from being healed."""

from __future__ import annotations

from typing import Any

import pytest

from sliceward.scheduling.quota import Quota, held, usage
from sliceward.topology.errors import Misconfigured
from tests.builders import a_fleet, gang_id

FLEET = (
    a_fleet()
    .with_gang("llm", slices=2, tenant="research")
    .on("cube-0", "cube-1")
    .with_gang("small", namespace="ml")
    .on("cube-2")
    .with_gang("later", tenant="research")
    .waiting()
    .build()
)
RESEARCH = ("research", "tpu7x")


def test_quota_is_read_by_label_or_name() -> None:
    quota = Quota.from_mapping({"research": {"tpu7x": 512}, "ml": {"v5p": 64, "tpu-v6e-slice": 8}})
    assert quota.nominal == {RESEARCH: 512, ("ml", "tpu-v5p-slice"): 64, ("ml", "tpu-v6e-slice"): 8}
    assert Quota.from_mapping(None).nominal == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"quota: is \[\]"),
        ({3: {}}, "quota: 3 is no tenant"),
        ({"": {}}, "is no tenant"),
        ({"a": 5}, "quota.a: is 5"),
        ({"a": {"tpu7": 5}}, "quota.a.tpu7: is no TPU generation. Did you mean 'tpu7x'"),
        ({"a": {"gpu": 5}}, "Known are"),
        ({"a": {"tpu7x": -1}}, "quota.a.tpu7x: is -1"),
        ({"a": {"tpu7x": "many"}}, "quota.a.tpu7x"),
        ({"a": {"v5p": 1, "tpu-v5p-slice": 2}}, "is there twice"),
    ],
)
def test_a_quota_that_cannot_be_used_is_told_with_its_path(value: Any, message: str) -> None:  # noqa: ANN401 (any YAML)
    with pytest.raises(Misconfigured, match=message):
        Quota.from_mapping(value)


def test_usage_counts_what_runs() -> None:
    assert usage(FLEET) == {("ml", "tpu7x"): 64, RESEARCH: 128}


def test_a_suspended_gang_holds_what_its_last_pods_hold() -> None:
    builder = a_fleet().with_gang("llm").on("cube-0")
    for gone, chips in ((True, 0), (False, 64)):
        fleet = builder.suspended("llm", pods_gone=gone).build()
        assert held(fleet, fleet.gangs[gang_id("llm")]) == chips


def test_chips_of_an_unknown_generation_are_counted_apart() -> None:
    def bare(jobset: dict[str, Any]) -> None:
        jobset["spec"]["suspend"] = False
        jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {}

    fleet = a_fleet().with_gang("g").waiting().gang_edited("g", bare).build()
    assert usage(fleet) == {("default", "unknown"): 64}
