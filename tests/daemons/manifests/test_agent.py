"""The agent's few rights: each with its reason, each needed, and enough for what it must see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.manifests import agent
from sliceward.daemons.settings import load
from sliceward.topology.names import NAMES
from tests.daemons.manifests.deployed import an_install
from tests.services.processes import need_program

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTORS = """\
import sys
from pathlib import Path
from sliceward.daemons.sources.holders import _targets
try:
    print(*_targets(Path("/proc") / sys.argv[1] / "fd"))
except PermissionError:
    print("blind")
"""


def template(**chosen: object) -> dict[str, Any]:
    found: dict[str, Any] = agent.daemon_set(an_install(**chosen))["spec"]["template"]  # type: ignore[arg-type]  # fields of Install
    return found


def container(**chosen: object) -> dict[str, Any]:
    found: dict[str, Any] = template(**chosen)["spec"]["containers"][0]
    return found


def test_each_capability_and_each_of_the_hosts_folders_has_its_reason() -> None:
    reasons = {key.removeprefix("why.sliceward.dev/") for key in template()["metadata"]["annotations"]}
    added = container()["securityContext"]["capabilities"]["add"]
    folders = [volume["name"] for volume in template()["spec"]["volumes"] if "hostPath" in volume]
    assert {f"capability.{name}" for name in added} == {name for name in reasons if name.startswith("capability.")}
    assert {f"mount.{name}" for name in folders} == {name for name in reasons if name.startswith("mount.")}
    assert {"root", "hostPID", "hostNetwork"} <= reasons


def test_all_capabilities_are_dropped_before_few_are_added() -> None:
    rights = container()["securityContext"]
    assert rights["capabilities"]["drop"] == ["ALL"]
    assert rights["capabilities"]["add"] == ["DAC_READ_SEARCH", "SYS_PTRACE", "SYSLOG"]
    assert rights["allowPrivilegeEscalation"] is False
    assert "privileged" not in rights


def test_privileged_is_a_choice_that_says_why() -> None:
    rights = container(privileged_agent=True)["securityContext"]
    assert rights["privileged"] is True
    assert "capabilities" not in rights
    assert rights["readOnlyRootFilesystem"] is True
    reasons = template(privileged_agent=True)["metadata"]["annotations"]
    assert "device" in reasons["why.sliceward.dev/privileged"]
    assert not any("capability" in key for key in reasons)


def test_of_the_host_only_the_reporters_folder_is_written() -> None:
    on_host = {volume["name"] for volume in template()["spec"]["volumes"] if "hostPath" in volume}
    writable = {mount["name"] for mount in container()["volumeMounts"] if not mount.get("readOnly")}
    assert writable & on_host == {"run"}
    assert all(
        mount["recursiveReadOnly"] == "IfPossible" for mount in container()["volumeMounts"] if mount["name"] in on_host - {"run"}
    )


def test_its_queue_is_in_a_folder_of_its_own() -> None:
    state = next(volume for volume in template()["spec"]["volumes"] if volume["name"] == "state")
    assert "emptyDir" in state


def tolerated(taint: dict[str, str]) -> bool:
    """Whether the agent stays on a node with this taint (Kubernetes: empty key or effect of a toleration fits all)."""
    return any(
        toleration.get("key", taint["key"]) == taint["key"] and toleration.get("effect", taint["effect"]) == taint["effect"]
        for toleration in template()["spec"]["tolerations"]
    )


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
def test_it_stays_where_tpus_are_and_where_we_took_the_host_out(effect: str) -> None:
    assert tolerated({"key": NAMES.tpu_taint, "effect": effect})
    assert tolerated({"key": NAMES.out_of_service, "effect": effect})


def test_it_comes_to_a_host_that_others_keep_work_off_but_leaves_one_that_others_empty() -> None:
    assert tolerated({"key": NAMES.unschedulable, "effect": "NoSchedule"})
    assert not tolerated({"key": "example.test/emptied", "effect": "NoExecute"})


def test_its_password_may_come_after_it_and_change_under_it() -> None:
    assert not any({"subPath", "subPathExpr"} & set(mount) for mount in container()["volumeMounts"])
    (mounted,) = (mount for mount in container()["volumeMounts"] if mount["name"] == "broker")
    (volume,) = (volume for volume in template()["spec"]["volumes"] if volume["name"] == "broker")
    assert volume["secret"]["secretName"] == agent.PASSWORDS
    names = [one["name"] for one in container()["env"]]
    # Kubernetes puts in what stands further up in the list alone.
    assert names.index("SLICEWARD_NODE_NAME") < names.index("SLICEWARD_BROKER__PASSWORD__FILE")
    values = {one["name"]: one.get("value") for one in container()["env"]}
    assert values["SLICEWARD_BROKER__PASSWORD__FILE"] == f"{mounted['mountPath']}/$(SLICEWARD_NODE_NAME)"
    node = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    named = {one["name"]: one.get("valueFrom") for one in container()["env"]}
    assert named["SLICEWARD_NODE_NAME"] == named["SLICEWARD_BROKER__USERNAME"] == node


def test_its_configuration_is_one_that_it_reads(tmp_path: Path) -> None:
    text = agent.config(an_install(cluster="prod"))["data"]["agent.yaml"]
    (tmp_path / "agent.yaml").write_text(text, encoding="utf-8")
    environ = {one["name"]: one.get("value", "a-node") for one in container()["env"]}
    settings = load(AgentSettings, file=tmp_path / "agent.yaml", environ=environ)
    assert (settings.cluster, settings.node, settings.broker.username) == ("prod", "a-node", "a-node")
    assert settings.broker.password is not None
    assert settings.broker.password.where == "file /etc/sliceward/broker/$(SLICEWARD_NODE_NAME)"
    paths = {mount["mountPath"] for mount in container()["volumeMounts"]}
    assert {str(settings.sources.root / part) for part in ("dev", "proc", "sys")} <= paths
    assert str(settings.state) in paths
    assert settings.sources.reporter.socket is not None
    assert str(settings.sources.reporter.socket.parent) in paths
    assert settings.listen is not None
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    assert {(container()[probe]["httpGet"]["host"], container()[probe]["httpGet"]["port"]) for probe in probes} == {
        (settings.listen.host, settings.listen.port)
    }


def seen_with(capabilities: list[str], tmp_path: Path) -> str:
    """Read a stranger's descriptors as root with these capabilities alone; give what was seen."""
    setpriv = need_program("setpriv")
    if os.geteuid() != 0:
        pytest.skip("only root can give up capabilities and become another user")
    held = tmp_path / "a-device"
    held.touch()
    only = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    environ = {**os.environ, "PYTHONPATH": str(ROOT / ".types")}
    with held.open(encoding="utf-8") as device:
        stranger = subprocess.Popen(  # noqa: S603 (found above)
            [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "echo up; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[device.fileno()],
        )
        try:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"up\n"  # it is another user by now
            command = [setpriv, f"--bounding-set={only}", f"--inh-caps={only}", sys.executable, "-c", DESCRIPTORS]
            told = subprocess.run(  # noqa: S603 (found above)
                [*command, str(stranger.pid)], check=True, capture_output=True, text=True, env=environ
            ).stdout
        finally:
            stranger.communicate()
    return "the device" if str(held) in told.split() else told.strip()


@pytest.mark.parametrize("missing", ["", "DAC_READ_SEARCH", "SYS_PTRACE"], ids=["none", "DAC_READ_SEARCH", "SYS_PTRACE"])
def test_holders_are_seen_with_these_capabilities_and_with_none_fewer(missing: str, tmp_path: Path) -> None:
    left = [name for name in agent.CAPABILITIES if name != missing]
    assert seen_with(left, tmp_path) == ("blind" if missing else "the device")
