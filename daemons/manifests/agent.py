"""The agent: root on each TPU host, with the few capabilities and the few folders that its sources need, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.daemons.manifests.install import AGENT_PORT, BROKER, CA, CONFIG, config_map, labels, made, mount, volume
from sliceward.daemons.manifests.processes import AGENT_PRIORITY, probes
from sliceward.daemons.manifests.yaml_out import text_of
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

NAME = "sliceward-agent"
PASSWORDS = "sliceward-agents"
"""The Secret that holds a password for each host, by the node's name.

It is mounted as a folder: what is mounted by ``subPath`` follows no change, and a host that came before its password would have an empty
folder in its place for ever. So each agent could read all of them, as root on its host can anyhow: the kubelet keeps the whole Secret there.
"""
ROOT = "/host"

CAPABILITIES: Mapping[str, str] = {
    "DAC_READ_SEARCH": "to list /proc/PID/fd of processes of other users: who has a TPU device open",
    "SYS_PTRACE": "to read where those descriptors lead: the kernel asks for it, also of root",
    "SYSLOG": "to read the kernel log where kernel.dmesg_restrict is set: memory errors of chips, faults of the host",
}
REASONS: Mapping[str, str] = {
    "root": "device files and the descriptors of all processes are root's",
    "hostPID": "/proc tells which process of which pod holds a TPU device",
    "hostNetwork": "the device plugin and host-network pods serve their metrics on localhost",
    "mount.dev": "read-only: whether each chip's device file is there, the kernel log",
    "mount.proc": "read-only: descriptors of processes, load and memory of the host",
    "mount.sys": "read-only: PCI errors of the chips, memory errors of the host",
    "mount.logs": "read-only: the lines of training pods that tell why a gang fails",
    "mount.run": "the socket that training pods reach by mounting the same folder; the only folder of the host that is written",
    "apparmor": "the default profile forbids to look at processes outside of the container, whatever the capabilities",
    "tolerations": "a host that nobody may use is the one that most needs watching",
}
PRIVILEGED = (
    "container runtimes open no device file for a container that is not: for the test of a burn-in that each chip's device opens"
)


def config(install: Install) -> Object:
    """Give the agent's configuration; its node, its user and password at the broker come from the pod."""
    settings = {
        "cluster": install.cluster,
        "broker": {"url": install.url, "ca_file": f"{CA}/ca.crt"},
        "sources": {"root": ROOT},
        "listen": {"host": "127.0.0.1", "port": AGENT_PORT},
    }
    return config_map(NAME, install.agents_namespace, {"agent.yaml": text_of(settings)})


def daemon_set(install: Install) -> Object:
    """Give the DaemonSet."""
    marks = labels("agent")
    spec = {
        "selector": {"matchLabels": marks},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {"metadata": {"labels": marks, "annotations": _reasons(install)}, "spec": _pod(install)},
    }
    return made("apps/v1", "DaemonSet", NAME, install.agents_namespace, labels=marks, spec=spec)


def _reasons(install: Install) -> dict[str, str]:
    if install.privileged_agent:
        reasons = {**REASONS, "privileged": PRIVILEGED}
    else:
        reasons = {**REASONS, **{f"capability.{name}": why for name, why in CAPABILITIES.items()}}
    return {f"why.sliceward.dev/{what}": why for what, why in sorted(reasons.items())}


def _pod(install: Install) -> Object:
    tpu = {"key": NAMES.accelerator, "operator": "Exists"}
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "priorityClassName": AGENT_PRIORITY,
        "hostPID": True,
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": 10,
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [tpu]}]}
            }
        },
        "tolerations": [
            {"key": NAMES.tpu_taint, "operator": "Exists"},
            {"key": NAMES.out_of_service, "operator": "Exists"},
            {"operator": "Exists", "effect": "NoSchedule"},
        ],
        "containers": [_container(install)],
        "volumes": [
            volume("dev", hostPath={"path": "/dev"}),
            volume("sys", hostPath={"path": "/sys"}),
            volume("proc", hostPath={"path": "/proc"}),
            volume("logs", hostPath={"path": "/var/log/pods"}),
            volume("run", hostPath={"path": "/run/sliceward", "type": "DirectoryOrCreate"}),
            volume("state", emptyDir={"sizeLimit": "64Mi"}),
            volume("tmp", emptyDir={"sizeLimit": "16Mi"}),
            volume("config", configMap={"name": NAME}),
            volume("ca", configMap={"name": "sliceward-broker-ca"}),
            volume("broker", secret={"secretName": PASSWORDS, "defaultMode": 0o400}),
        ],
    }


def _container(install: Install) -> Object:
    node = {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    probed = probes(AGENT_PORT, "127.0.0.1")
    probed["livenessProbe"] |= {"periodSeconds": 30, "failureThreshold": 4}
    probed["readinessProbe"] |= {"periodSeconds": 15}
    return {
        "name": "agent",
        "image": install.agent_image,
        "args": ["agent", "--config", f"{CONFIG}/agent.yaml"],
        "env": [
            {"name": "SLICEWARD_NODE_NAME", **node},
            {"name": "SLICEWARD_BROKER__USERNAME", **node},
            {"name": "SLICEWARD_BROKER__PASSWORD__FILE", "value": f"{BROKER}/$(SLICEWARD_NODE_NAME)"},
            # Nine threads that mostly wait: a heap for each is 2 MB of nothing.
            {"name": "MALLOC_ARENA_MAX", "value": "2"},
        ],
        **probed,
        "resources": {"requests": {"cpu": "5m", "memory": "80Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": _rights(install),
        "volumeMounts": [
            mount("dev", f"{ROOT}/dev", recursiveReadOnly="IfPossible"),
            mount("sys", f"{ROOT}/sys", recursiveReadOnly="IfPossible"),
            mount("proc", f"{ROOT}/proc", recursiveReadOnly="IfPossible"),
            mount("logs", f"{ROOT}/var/log/pods", recursiveReadOnly="IfPossible"),
            mount("run", "/run/sliceward", read_only=False),
            mount("state", "/var/lib/sliceward", read_only=False),
            mount("tmp", "/tmp", read_only=False),  # noqa: S108 (a folder in the container)
            mount("config", CONFIG),
            mount("ca", CA),
            mount("broker", BROKER),
        ],
    }


def _rights(install: Install) -> Object:
    rights: Object = {
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Unconfined"},
    }
    if install.privileged_agent:
        return {**rights, "privileged": True}
    return {**rights, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)}}
