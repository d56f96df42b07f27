"""Kueue's own tables of whole placements and of replaced hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sliceward.scheduling.tree.ask import LayersDoNotFit, NoDomains, TooLittleRoom, UnknownLevel
from sliceward.scheduling.tree.assignment import together
from sliceward.scheduling.tree.placement import NotPlaced, place
from sliceward.scheduling.tree.replacement import Running, replace_hosts
from tests.scheduling.golden.objects import ask_of, assignment_of, rules_of, tree_of, written
from tests.scheduling.golden.tables import rows

if TYPE_CHECKING:
    from sliceward.scheduling.tree.ask import Exclusions, Failure
    from sliceward.scheduling.tree.assignment import Usage
    from sliceward.scheduling.tree.placement import Placed

Object = dict[str, Any]
TABLES_WORDS = {"selector": "nodeSelector", "outside the domain": "topologyDomain"}
TOLD_APART = {"some_fit", "none_fit", "no_domains_at_level", "layers_do_not_fit", "unknown_slice_level"}


def used_of(given: Object, *, by_host: bool) -> Usage:
    """Give what other gangs use. Other flavors' gangs share hosts, not domains above them."""
    sharing = given["feature_gates"].get("TASHandleOverlappingFlavors", True) and by_host
    told = given.get("own_flavor_usage", []) + (given.get("other_flavor_usage", []) if sharing else [])
    return together(
        assignment_of({"domains": [{"values": each["values"], "pods": each["pods"]}]}).usage(each["requests_per_pod"])
        for each in told
    )


def decided(given: Object) -> Placed | NotPlaced:
    tree, rules = tree_of(given), rules_of(given["feature_gates"])
    asks, used = [ask_of(each) for each in given["pod_sets"]], used_of(given, by_host=tree.by_host)
    workload = given.get("workload", {})
    if not workload.get("unhealthy_nodes"):
        return place(tree, asks, used=used, rules=rules)
    owners = workload.get("owners", [])
    grouped = workload.get("annotations", {}).get("kueue.x-k8s.io/is-group-workload") == "true"
    sits = {
        each["name"]: assignment_of(each["topology_assignment"])
        for each in workload.get("admission", {}).get("pod_sets", ())
        if each.get("topology_assignment")
    }
    lone = [owner["kind"] for owner in owners] == ["Pod"] and not grouped
    return replace_hosts(tree, asks, Running(sits, tuple(workload["unhealthy_nodes"]), lone), used=used, rules=rules)


def described(failure: Failure) -> Object:
    """Say a failure in the words of the tables."""
    if isinstance(failure, TooLittleRoom):
        unit = "slices" if failure.slices else "pods"
        told = {"class": "some_fit" if failure.fits else "none_fit", "fits": failure.fits, "asked": failure.asked, "unit": unit}
        return {**told, **excluded(failure.exclusions)}
    if isinstance(failure, LayersDoNotFit):
        layers = [{"level": layer.level, "fits": layer.fits, "asked": layer.asked} for layer in failure.layers]
        return {"class": "layers_do_not_fit", "layers": layers, **excluded(failure.exclusions)}
    if isinstance(failure, NoDomains):
        return {"class": "no_domains_at_level", "level": failure.level}
    if isinstance(failure, UnknownLevel):
        return {"class": "unknown_slice_level" if failure.of == "slices" else "unknown_level", "level": failure.level}
    return {"class": type(failure).__name__}


def excluded(exclusions: Exclusions) -> Object:
    causes = {TABLES_WORDS.get(cause, cause): leaves for cause, leaves in exclusions.causes.items()}
    return {"total_nodes": exclusions.leaves, "excluded": causes} if causes else {}


def without(told: Object, keys: set[str]) -> Object:
    return {key: value for key, value in told.items() if key not in keys}


def same_kind(want: Object, got: Object) -> bool:
    """Whether a failure is of the table's class; where its word for the class is not known here, whether it is some other one."""
    return want["class"] == got["class"] or not {want["class"], got["class"]} & TOLD_APART


@pytest.mark.parametrize(("given", "want"), rows("topology_assignment", "topology_assignment_layered_replacement"))
def test_pods_go_where_the_table_says(given: Object, want: Object) -> None:
    got = decided(given)
    places, failures = (got.tried, got.failures) if isinstance(got, NotPlaced) else (got.assignments, {})
    for wanted in want["pod_sets"]:
        name = wanted["pod_set"]
        if wanted.get("failure"):
            told = described(failures[name])
            assert same_kind(wanted["failure"], told)
            aside = {"class", "text"}
            assert without(told, aside) == without(wanted["failure"], aside)
        elif wanted.get("assignment"):
            assert name in places, failures
            assert written(places[name]) == wanted["assignment"]
        else:
            assert name not in places
