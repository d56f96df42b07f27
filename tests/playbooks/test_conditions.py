"""CEL in playbooks: typed at load, three-valued at run time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.playbooks.conditions import LONGEST, LONGEST_ERROR, VARIABLES, Language
from sliceward.topology.errors import Misconfigured
from tests.builders import NOW

INPUTS: dict[str, Any] = {
    "now": NOW,
    "finding.kind": "IciLinkDown",
    "finding.score": 0.9,
    "finding.firingFor": timedelta(minutes=3),
    "finding.betweenCubes": False,
    "finding.labels": {"a": "b"},
    "incident.kinds": ["IciLinkDown", "CollectiveStuck"],
    "gang.id": "c1/gang/ml/JobSet/llm",
    "gang.chips": 128,
    "spare.cubes": 1,
}


def language(*variables: tuple[str, str]) -> Language:
    return Language("p.yaml: playbook p", variables)


def test_what_the_engine_says_of_a_long_expression_is_not_told_at_length() -> None:
    with pytest.raises(Misconfigured) as no:
        language().compile("c", '"' + "x" * (LONGEST - 1))
    assert "Syntax error" in no.value.why
    assert len(no.value.why) <= LONGEST_ERROR + 1


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("finding.score > 0.8", True),
        ("finding.score > 0.95", False),
        ('finding.kind == "IciLinkDown" || finding.score > 2.0', True),
        ('finding.firingFor >= duration("2m")', True),
        ('now - finding.firingFor < timestamp("2030-01-01T00:00:00Z")', True),
        ('"CollectiveStuck" in incident.kinds', True),
        ("incident.kinds.exists(k, k.startsWith('Ici'))", True),
        ("!finding.betweenCubes", True),
        ("gang.chips / 64 <= spare.cubes", False),
        ('finding.labels["a"] == "b"', True),
        ('has(finding.labels.a) && gang.id != ""', True),
    ],
)
def test_an_expression_gives_true_or_false_with_what_it_read(expression: str, value: bool) -> None:  # noqa: FBT001 (a table)
    found = language().compile("c", expression).evaluate(INPUTS)
    assert (found.name, found.value) == ("c", value)
    assert found.inputs
    assert all(INPUTS[name] == read for name, read in found.inputs.items())


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ('finding.labels["z"] == "b"', "Key not found"),
        ("gang.rate > 1.0", "gang.rate is not known now"),
        ("gang.chips / 0 > 1", "divi"),
        ("incident.kinds[7] == 'x'", "index"),
        ("host.cordoned", "host.cordoned is not known now"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_never_false(expression: str, why: str) -> None:
    value = language().compile("c", expression).evaluate(INPUTS).value
    assert isinstance(value, str)
    assert value.startswith("error: ")
    assert why in value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("finding.scor > 0.5", "Did you mean finding.score"),
        ("finding.score > 1", "no matching overload"),
        ("finding.score", "gives DOUBLE"),
        ("dyn(1)", "gives DYN"),
        ("(((", "Syntax error"),
        ("frobnicate(1)", "undeclared reference"),
        ('"x" + 1 == "x1"', "no matching overload"),
        (f"{' ' * LONGEST}true", "more than 2048"),
        ("+".join(["1"] * 60) + " > 1", "p.yaml"),
    ],
)
def test_a_mistake_is_refused_at_load_with_playbook_condition_and_what_to_do(expression: str, why: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        language().compile("sure", expression)
    assert why in str(refused.value)
    assert "condition 'sure'" in str(refused.value)


def test_an_expression_that_never_ends_is_an_error() -> None:
    bomb = "[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]"
    nested = f"{bomb}.all(a, {bomb}.all(b, {bomb}.all(c, {bomb}.all(d, {bomb}.all(e, a + b + c + d + e < 1000)))))"
    value = language().compile("c", nested).evaluate({}).value
    assert isinstance(value, str)
    assert "error" in value


def test_variables_are_typed_by_what_they_compute_and_read_by_later_ones() -> None:
    made = language(("half", "finding.score / 2.0"), ("quarter", "half / 2.0"))
    inputs = made.inputs(INPUTS)
    assert inputs["quarter"] == pytest.approx(0.225)
    assert made.compile("c", "quarter > 0.2").evaluate(inputs).value is True
    with pytest.raises(Misconfigured, match="no matching overload"):
        made.compile("c", 'quarter == "x"')


def test_a_variable_that_cannot_be_computed_makes_an_error_of_what_reads_it() -> None:
    made = language(("slow", "gang.rate < 1.0"))
    inputs = made.inputs(INPUTS)
    assert "slow" not in inputs
    assert "slow is not known now" in str(made.compile("c", "slow").evaluate(inputs).value)


@pytest.mark.parametrize("name", ["now", "Upper", "a-b", "", "x" * 70])
def test_a_variable_needs_a_free_and_plain_name(name: str) -> None:
    with pytest.raises(Misconfigured):
        language((name, "1.0"))


def judged(text: str) -> bool | str:
    """Give what an expression says, or why it was refused."""
    try:
        return language().compile("c", text).evaluate(INPUTS).value
    except Misconfigured as no:
        return f"refused: {no.why}"


LEAVES = st.sampled_from(["finding.score", "gang.chips", "gang.rate", "finding.betweenCubes", "finding.kind", "true", "1", '"x"'])
SIGNS = st.sampled_from(["<", "==", "+", "/", "&&", "||", "in", "?", ":"])
EXPRESSIONS = st.recursive(LEAVES, lambda one: st.tuples(one, SIGNS, one).map(" ".join) | one.map("!({})".format), max_leaves=4)


@given(st.text(max_size=60) | EXPRESSIONS)
def test_any_text_is_true_or_false_or_an_error_or_refused(text: str) -> None:
    value = judged(text)
    assert isinstance(value, bool) or value.startswith(("error: ", "refused: "))


def test_every_name_is_explained() -> None:
    assert all(variable.about for variable in VARIABLES.values())
