"""The Secrets follow from one key: the same again each time, different for each user, and in the form that Mosquitto reads."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.manifests import agent, broker, coordinator, secrets, watcher
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER
from sliceward.topology.errors import Misconfigured
from tests.daemons.manifests.deployed import KEY, an_install
from tests.services.processes import need_program

if TYPE_CHECKING:
    from pathlib import Path

NODES = ["h1", "h2"]


def made(nodes: list[str] = NODES, **chosen: object) -> dict[str, dict[str, str]]:
    found = secrets.objects(an_install(**chosen), nodes, KEY)  # type: ignore[arg-type]  # fields of Install
    return {one["metadata"]["name"]: one["stringData"] for one in found}


def test_every_secret_that_a_pod_names_is_there_but_the_ones_that_only_people_can_make() -> None:
    assert set(made()) == {broker.USERS, watcher.NAME, coordinator.NAME, agent.PASSWORDS, "sliceward-tokens"}
    assert set(made()["sliceward-tokens"]) == {"view", "operate", "alert"}
    assert set(made()[agent.PASSWORDS]) == set(NODES)


def test_made_again_for_one_host_more_no_other_changes() -> None:
    before, after = made(), made([*NODES, "h3"])
    assert after[agent.PASSWORDS].pop("h3")
    assert after[agent.PASSWORDS] == before[agent.PASSWORDS]
    lines = before[broker.USERS]["passwords"].splitlines()
    assert [line for line in lines if line not in after[broker.USERS]["passwords"].splitlines()] == []
    assert after["sliceward-tokens"] == before["sliceward-tokens"]


def test_what_was_turned_changes_alone_and_again_at_each_turn() -> None:
    def turned(**turns: int) -> dict[str, dict[str, str]]:
        named = {"token:view" if name == "view" else name: number for name, number in turns.items()}
        return {one["metadata"]["name"]: one["stringData"] for one in secrets.objects(an_install(), NODES, KEY, named)}

    before, once, twice = made(), turned(h1=1), turned(h1=2)
    assert len({one[agent.PASSWORDS]["h1"] for one in (before, once, twice)}) == 3
    assert {one[agent.PASSWORDS]["h2"] for one in (before, once, twice)} == {before[agent.PASSWORDS]["h2"]}
    changed = [name for name in before if before[name] != once[name]]
    assert sorted(changed) == sorted([broker.USERS, agent.PASSWORDS])
    lines = set(once[broker.USERS]["passwords"].splitlines()) - set(before[broker.USERS]["passwords"].splitlines())
    assert [line.partition(":")[0] for line in lines] == ["h1"]
    assert [name for name in before if before[name] != turned(sliceward_watcher=1)[name]] == [broker.USERS, watcher.NAME]
    view = turned(view=1)["sliceward-tokens"]
    assert {role for role in view if view[role] != before["sliceward-tokens"][role]} == {"view"}


def test_no_two_are_alike_and_none_of_one_cluster_fits_another() -> None:
    values = [text for name, texts in made().items() if name != broker.USERS for text in texts.values()]
    values += [secrets.password_of(KEY, "another", user) for user in (*NODES, WATCHER_USER, COORDINATOR_USER)]
    values.append(secrets.password_of(KEY[1:] + b"x", "tpu", "h1"))
    assert len(values) == len(set(values))
    assert min(map(len, values)) >= 43


def test_the_brokers_file_holds_no_password() -> None:
    text = made()[broker.USERS]["passwords"]
    assert not any(password in text for password in made()[agent.PASSWORDS].values())


def test_mosquittos_own_program_reads_the_file_and_writes_its_like(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text(secrets.password_file(KEY, "tpu", ["h1"]), encoding="utf-8")
    theirs.touch(mode=0o600)
    subprocess.run([need_program("mosquitto_passwd"), "-b", theirs, "h1", "word"], check=True, capture_output=True)  # noqa: S603 (found above)
    kinds = [[len(part) for part in file.read_text(encoding="utf-8").splitlines()[-1].split("$")[1:]] for file in (ours, theirs)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize(
    ("nodes", "key", "said"),
    [
        (["h1"], b"short", "at least 32"),
        (["a name"], KEY, "Kubernetes name"),
        (["sliceward_watcher"], KEY, "no name of a node"),
        ([f"gke-a-rather-long-name-of-a-node-{n:05d}" for n in range(20_000)], KEY, "fewer hosts"),
    ],
    ids=["short key", "no node's name", "a process's name", "too many"],
)
def test_what_cannot_work_is_refused_with_what_to_do(nodes: list[str], key: bytes, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        secrets.objects(an_install(), nodes, key)


def test_a_broker_of_ones_own_gets_no_password_file() -> None:
    assert broker.USERS not in made(broker_url="mqtts://broker.example:8883")
