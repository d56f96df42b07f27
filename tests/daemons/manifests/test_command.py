"""The command line: objects out, a tree out, Secrets out; what cannot be used is refused with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result

from sliceward.daemons.cli.main import cli
from sliceward.daemons.manifests import secrets, tree
from sliceward.daemons.manifests.install import Overlay
from sliceward.topology.errors import Misconfigured
from tests.daemons.manifests.deployed import KEY, an_install

if TYPE_CHECKING:
    from pathlib import Path


def told(*words: str | Path, given: str = "") -> Result:
    return CliRunner().invoke(cli, ["manifests", *map(str, words)], input=given)


@pytest.mark.parametrize("overlay", list(Overlay))
def test_yaml_and_json_hold_the_same_objects(overlay: Overlay) -> None:
    wanted = list(tree.objects(an_install(overlay)))
    assert list(yaml.safe_load_all(told("--overlay", overlay).output)) == wanted
    assert json.loads(told("--overlay", overlay, "-o", "json").output)["items"] == wanted


def test_choices_reach_the_objects() -> None:
    words = ["--cluster", "prod", "--namespace", "health", "--image", "r.example/s:2", "--agent-image", "r.example/a:2"]
    words += ["--overlay", "ha", "--store-port", "6432"]
    found = told(*words, "--broker-url", "mqtts://b.example", "--node-range", "10.0.0.0/8", "--privileged-agent").output
    wanted = an_install(
        Overlay.HA,
        cluster="prod",
        namespace="health",
        image="r.example/s:2",
        agent_image="r.example/a:2",
        broker_url="mqtts://b.example",
        store_port=6432,
        node_ranges=("10.0.0.0/8",),
        privileged_agent=True,
    )
    assert list(yaml.safe_load_all(found)) == list(tree.objects(wanted))


def test_a_folder_is_filled_with_base_and_all_overlays(tmp_path: Path) -> None:
    assert told("--out", tmp_path / "new").exit_code == 0
    there = {str(file.relative_to(tmp_path / "new")) for file in (tmp_path / "new").rglob("*.yaml")}
    assert there == set(tree.texts(an_install()))


def test_rights_follow_from_the_playbooks_that_are_named(tmp_path: Path) -> None:
    assert isinstance(told("--playbooks", tmp_path).exception, Misconfigured)
    (tmp_path / "own.yaml").write_text(
        "apiVersion: sliceward.dev/v1alpha1\nkind: Playbook\nmetadata: {name: own}\nspec:\n  summary: Tell.\n  mode: Observe\n"
        "  trigger: {findings: [{kinds: [TelemetryLost]}]}\n  handOver: look\n  timeout: 5m\n"
        "  steps: [{name: tell, action: human.hand_over, timeout: 1m}]\n",
        encoding="utf-8",
    )
    found = told("--playbooks", tmp_path)
    assert found.exit_code == 0, found.output
    assert "sliceward.dev/actions: human.hand_over" in found.output
    assert "delete" not in found.output


def test_secrets_are_made_for_the_nodes_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    found = told("--secrets-for", "-", "--key", tmp_path / "key", given="node/h1\n\nnode/h2\n")
    made = {one["metadata"]["name"]: one for one in yaml.safe_load_all(found.output)}
    assert set(made["sliceward-agents"]["stringData"]) == {"h1", "h2"}
    assert {one["kind"] for one in made.values()} == {"Secret"}
    assert KEY.decode() not in found.output


def test_a_line_for_each_turn_makes_another_password_and_a_name_that_is_nobodys_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    (tmp_path / "nodes").write_text("h1\nh2\n")
    (tmp_path / "turned").write_text("h1\ntoken:view\nh1\nh9\n")
    asked = ("--secrets-for", tmp_path / "nodes", "--key", tmp_path / "key")
    found = told(*asked, "--turned", tmp_path / "turned")
    made = {one["metadata"]["name"]: one["stringData"] for one in yaml.safe_load_all(found.stdout)}
    assert made["sliceward-agents"]["h1"] == secrets.password_of(KEY, "tpu", "h1", 2)
    assert made["sliceward-agents"]["h2"] == secrets.password_of(KEY, "tpu", "h2")
    assert made["sliceward-tokens"]["view"] == secrets.token_of(KEY, "tpu", "view", 1)
    assert found.stderr == f"{tmp_path / 'turned'}: h9 is none of these nodes, no user of ours, and no token\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--secrets-for", "-"), "--key"),
        (("--cluster", "no name"), "cluster name"),
        (("--broker-url", "http://broker"), "mqtts://"),
        (("--broker-url", "broker:1883"), "mqtts://"),
        (("--broker-url", "mqtts://:8883"), "mqtts://"),
        (("--broker-url", "mqtts://broker:mqtt"), "mqtts://"),
        (("--broker-url", "mqtts://me:hunter2@broker:8883"), "--secrets-for"),
        (("--broker-url", "mqtts://me:hun/ter2@broker:8883"), "--secrets-for"),
        (("--broker-url", "http://me:hunter2@broker"), "--secrets-for"),
    ],
)
def test_what_cannot_be_used_is_refused(words: tuple[str, ...], said: str) -> None:
    found = told(*words)
    assert isinstance(found.exception, Misconfigured)
    assert said in str(found.exception)
    assert "ter2" not in f"{found.exception!r}{found.exception}{found.output}"
