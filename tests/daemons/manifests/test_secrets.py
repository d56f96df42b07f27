"""The Secrets follow from one key: the same again each time, different for each user, and in the form that Mosquitto reads."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.manifests import agent, broker, coordinator, secrets, tree, watcher
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER, Overlay
from sliceward.daemons.manifests.yaml_out import documents
from sliceward.topology.errors import Misconfigured
from tests.daemons.manifests.deployed import KEY, an_install
from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.daemons.manifests.install import Install

ROOT = Path(__file__).resolve().parents[3]
NODES = ["h1", "h2"]


def made(nodes: list[str] = NODES, **chosen: object) -> dict[str, dict[str, str]]:
    found = secrets.objects(an_install(**chosen), nodes, KEY)  # type: ignore[arg-type]  # fields of Install
    return {one["metadata"]["name"]: one["stringData"] for one in found}


def test_every_secret_that_a_pod_names_is_there_but_the_ones_that_only_people_can_make() -> None:
    assert set(made()) == {broker.USERS, watcher.NAME, coordinator.NAME, agent.PASSWORDS, "sliceward-tokens"}
    assert set(made()["sliceward-tokens"]) == {"view", "operate", "alert"}
    assert set(made()[agent.PASSWORDS]) == set(NODES)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def files_named(install: Install) -> Iterator[tuple[str, str]]:
    """Give each file in a mounted Secret that a configuration or a variable names: name of the Secret, key."""
    objects = tree.objects(install)
    texts = {
        one["metadata"]["name"]: _without_comments("\n".join(one["data"].values()))
        for one in objects
        if one["kind"] == "ConfigMap"
    }
    for pod in (one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("Deployment", "DaemonSet", "StatefulSet")):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for box in pod["containers"]:
            named = [one.get("value", "") for one in box.get("env", ())]
            named += [texts.get(one["configMap"]["name"], "") for one in volumes.values() if "configMap" in one]
            for mount in box["volumeMounts"]:
                if "secret" in (volume := volumes[mount["name"]]):
                    for key in re.findall(rf"{re.escape(mount['mountPath'])}/([^\s'\"}}]+)", "\n".join(named)):
                        yield volume["secret"]["secretName"], key


@pytest.mark.parametrize("overlay", list(Overlay))
def test_each_file_that_a_pod_expects_is_a_key_of_its_secret(overlay: Overlay) -> None:
    expected: dict[str, set[str]] = {}
    for name, key in files_named(an_install(overlay)):
        keys = [key.replace("$(SLICEWARD_NODE_NAME)", node) for node in NODES]
        expected.setdefault(name, set()).update(keys)
    # What people make themselves: the database's password, and the broker's certificate.
    by_people = {"sliceward-store", "mosquitto-tls"}
    assert {name: keys for name, keys in expected.items() if name not in by_people} == {
        name: set(texts) for name, texts in made().items()
    }


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


def test_keys_of_pagers_that_are_put_beside_the_tokens_outlive_them(control_plane: Path, kubectl: str, tmp_path: Path) -> None:
    """The commands of docs/how-to/pagers.md, at a real API server."""
    page = (ROOT / "docs/how-to/pagers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    (told,) = (text for language, text in blocks if not language)
    commands = [line.replace("sliceward --from", "keys --from") for line in told.splitlines() if "rollout" not in line]
    for name in ("pagerduty", "webhook"):
        (tmp_path / name).write_text(f"key of {name}", encoding="utf-8")

    def call(line: str, given: str = "") -> str:
        words = [kubectl, "--kubeconfig", str(control_plane), *shlex.split(line)[1:]]
        done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True, input=given)  # noqa: S603 (found by the fixture)
        return done.stdout

    def made_anew(turned: dict[str, int]) -> None:
        install = an_install(namespace="keys")
        ours = [one for one in secrets.objects(install, NODES, KEY, turned) if one["metadata"]["namespace"] == "keys"]
        call("kubectl apply --server-side -f -", documents(ours))

    call("kubectl create namespace keys")
    made_anew({})
    for line in commands:
        command, _, file = line.partition(" > ")
        told = call(command)
        if file:
            (tmp_path / file).write_text(told, encoding="utf-8")
    made_anew({"token:view": 1})
    held = json.loads(call("kubectl --namespace keys get secret sliceward-tokens -o json"))["data"]
    assert base64.b64decode(held["pagerduty"]) == b"key of pagerduty"
    assert base64.b64decode(held["view"]).decode() == secrets.token_of(KEY, "tpu", "view", 1)
