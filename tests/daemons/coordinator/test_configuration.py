"""The coordinator's own configuration: the example works, mistakes are named, and what it wires runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sliceward.daemons.coordinator.alerts import read_map
from sliceward.daemons.coordinator.command import command
from sliceward.daemons.coordinator.run import read_book, store_url
from sliceward.daemons.coordinator.settings import CoordinatorSettings, PlaybookSettings, StoreSettings
from sliceward.daemons.settings import Secret, load, schema
from sliceward.topology.errors import Misconfigured

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
ONE = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_MQTT_URL": "mqtt://127.0.0.1:1883", "SLICEWARD_STORE_URL": "sqlite:////tmp/x.db"}


def test_the_examples_can_be_used() -> None:
    settings = load(CoordinatorSettings, file=EXAMPLES / "coordinator.yaml", environ={})
    assert settings.clusters[0].name == "prod-eu"
    assert settings.budget is not None
    assert len(read_map(EXAMPLES / "alerts.yaml").rules) == 3


def test_the_one_cluster_case_needs_no_file() -> None:
    settings = load(CoordinatorSettings, file=None, environ=ONE | {"KUBECONFIG": "/k"})
    assert (settings.clusters[0].name, settings.clusters[0].broker.url) == ("c1", "mqtt://127.0.0.1:1883")
    assert settings.store.url == "sqlite:////tmp/x.db"


MISTAKES = {
    "no cluster": ("{}", "clusters"),
    "open to all": ("clusters: [{name: a}]\napi: {host: 0.0.0.0}", "without any token"),
    "name twice": ("clusters: [{name: a}, {name: a}]", "stands twice"),
    "unknown mode": ("clusters: [{name: a}]\nplaybooks: {mode: Enforced}", "playbooks.mode"),
    "secret in the file": ("clusters: [{name: a, broker: {password: hunter2}}]", "clusters[0].broker.password"),
    "no time for a store to answer in": (
        "clusters: [{name: a}]\npace: {broker_grace: 0s}",
        "pace.broker_grace: 0 s is too short",
    ),
    "unknown role": ("clusters: [{name: a}]\napi: {tokens: [{name: a, role: root, token: {env: T}}]}", "api.tokens[0].role"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str, tmp_path: Path) -> None:
    text, said = MISTAKES[name]
    path = tmp_path / "coordinator.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        load(CoordinatorSettings, file=path, environ={})
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_with_a_lease_no_time_needs_to_pass_before_the_first_call(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.yaml"
    path.write_text("clusters: [{name: a}]\npace: {broker_grace: 0s}\nleader: {lease: x}\nstore: {url: 'postgresql://u@h/n'}")
    assert not load(CoordinatorSettings, file=path, environ={}).pace.broker_grace


def test_the_schema_can_be_published() -> None:
    assert schema(CoordinatorSettings)["properties"].keys() == CoordinatorSettings.model_fields.keys()


def test_the_password_of_the_store_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("p@ss/word\n")
    settings = StoreSettings(url="postgresql://me@db:5432/x", password=Secret(file=tmp_path / "p"))
    assert store_url(settings) == "postgresql://me:p%40ss%2Fword@db:5432/x"
    with pytest.raises(Misconfigured, match="needs a user"):
        store_url(StoreSettings(url="postgresql://db/x", password=Secret(value="x")))


def test_the_shipped_playbooks_load_and_start_in_observe() -> None:
    book = read_book(PlaybookSettings())
    assert book.playbooks
    assert {playbook.mode.value for playbook in book.playbooks} == {"Observe"}
    enforced = read_book(PlaybookSettings(mode="Enforce", modes={book.playbooks[0].name: "Approve"}))
    assert {playbook.mode.value for playbook in enforced.playbooks} == {"Enforce", "Approve"}


def test_a_folder_without_playbooks_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="holds no YAML file"):
        read_book(PlaybookSettings(folders=[tmp_path]))


def test_check_says_that_a_configuration_is_good() -> None:
    result = CliRunner().invoke(command, ["--check"], env=ONE)
    assert result.exit_code == 0, result.output
    assert "configuration is good: 1 clusters" in result.output
