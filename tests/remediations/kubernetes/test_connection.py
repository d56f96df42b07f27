"""Where a cluster's address and credentials come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.kubernetes import connect
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from pathlib import Path

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: me, user: {token: s3cr3t}}]
"""


async def test_a_cluster_that_is_down_is_no_mistake_of_configuration(tmp_path: Path, unused_tcp_port: int) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG % unused_tcp_port)
    async with connect("c1", kubeconfig=file, context="here") as cluster:
        assert cluster.name == "c1"
        with pytest.raises(Retry) as caught:
            await cluster.version()
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "context", "why"),
    [("", "here", ""), (KUBECONFIG % 1, "elsewhere", "elsewhere"), ("{[", None, ""), (None, None, "")],
    ids=["empty", "unknown context", "no YAML", "no file"],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, context: str | None, why: str) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        async with connect("c1", kubeconfig=file, context=context):
            pass
    assert str(file) in caught.value.where
    assert why in str(caught.value)
    assert caught.value.what_to_do


async def test_inside_a_pod_without_its_account_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(Misconfigured, match="service account"):
        async with connect("c1"):
            pass
