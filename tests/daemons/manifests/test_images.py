"""The Dockerfile names what exists, installs by hash alone, and leaves images that are nobody; the locks hold what they run."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.manifests import tree
from tests.daemons.manifests.deployed import an_install
from tests.daemons.manifests.images import ROOT, TEXT, stages

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ("sliceward", "agent")


def test_what_is_copied_exists() -> None:
    for stage in stages().values():
        for words in map(shlex.split, stage.all("COPY")):
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in stages()
            else:
                assert (ROOT / words[0]).exists()
        assert [lock for lock in stage.locks if not (ROOT / lock).exists()] == []


def test_nothing_is_installed_but_by_hash_and_our_own_wheel() -> None:
    installs = [
        line for stage in stages().values() for run in stage.all("RUN") for line in run.split("&&") if " install " in line
    ]
    assert len(installs) == 5
    assert [
        line for line in installs if "--require-hashes" not in line and "--no-deps --no-index /wheels/*.whl" not in line
    ] == []


def test_the_build_tool_comes_with_the_hashes_of_its_lock(tmp_path: Path) -> None:
    (program,) = re.findall(r"RUN (awk .*? > build\.txt)", TEXT)
    subprocess.run(  # noqa: S602 (a line of our Dockerfile)
        program.replace("> build.txt", f"> {tmp_path / 'build.txt'}"), shell=True, cwd=ROOT, check=True
    )
    lines = (tmp_path / "build.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("setuptools==")
    assert len(lines) > 1
    assert all("--hash=sha256:" in line for line in lines[1:])


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_nobody_and_holds_nothing_that_built_it(image: str) -> None:
    stage = stages()[image]
    assert stage.all("USER") == ["65532:65532"]
    assert stage.all("ENTRYPOINT") == ['["/opt/sliceward/bin/sliceward"]']
    assert stage.all("COPY") == [f"--from={image}-packages /opt/sliceward /opt/sliceward"]
    assert stage.all("RUN") == []


def test_the_images_are_those_that_the_manifests_name() -> None:
    specs = [one["spec"]["template"]["spec"] for one in tree.objects(an_install()) if one["kind"] in ("Deployment", "DaemonSet")]
    named = {container["image"] for spec in specs for container in spec["containers"]} - {"eclipse-mosquitto:2"}
    told = dict(re.findall(r"docker build --target (\S+) --tag (\S+) \.", TEXT))
    assert set(told.values()) == named
    assert set(told) == set(IMAGES)


def test_the_agents_image_has_only_what_an_agent_needs() -> None:
    assert stages()["agent-packages"].locks == ["requirements/agent.txt"]
    assert stages()["sliceward-packages"].locks == ["requirements/watcher.txt", "requirements/coordinator.txt"]
