"""Watches: from where, what is seen, how they end. On both servers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Api

LEASES = "coordination.k8s.io/v1"


async def lease(api: Api, name: str, **labels: str) -> str:
    made = await api.made("leases", {"metadata": {"name": name, "labels": labels}}, LEASES)
    return str(made["metadata"]["resourceVersion"])


async def test_a_watch_from_a_version_replays_what_came_after_and_goes_on(api: Api) -> None:
    path = api.at("leases", api=LEASES)
    await lease(api, "a")
    version = await lease(api, "b")
    await api.patch(f"{path}/a", {"metadata": {"labels": {"x": "y"}}})
    async with api.watch(path, resourceVersion=version) as stream:
        assert await stream.take(1) == [("MODIFIED", "a")]
        await lease(api, "c")
        await api.delete(f"{path}/b")
        assert await stream.take(2) == [("ADDED", "c"), ("DELETED", "b")]


async def test_a_deleted_object_carries_a_new_version(api: Api) -> None:
    path = api.at("leases", api=LEASES)
    version = await lease(api, "a")
    async with api.watch(path, resourceVersion=version) as stream:
        await api.delete(f"{path}/a")
        kind, obj = await stream.next()
    assert kind == "DELETED"
    assert int(obj["metadata"]["resourceVersion"]) > int(version)


@pytest.mark.parametrize("version", [{}, {"resourceVersion": "0"}], ids=["without a version", "from zero"])
async def test_a_watch_without_a_place_begins_with_what_is_there(api: Api, version: dict[str, str]) -> None:
    path = api.at("leases", api=LEASES)
    await lease(api, "a")
    await api.get(path)
    async with api.watch(path, **version) as stream:
        assert await stream.take(1) == [("ADDED", "a")]
        await lease(api, "b")
        assert await stream.take(1) == [("ADDED", "b")]


async def test_objects_come_and_go_by_the_selector(api: Api) -> None:
    path = api.at("leases", api=LEASES)
    version = await lease(api, "a")
    async with api.watch(path, resourceVersion=version, labelSelector="on=yes") as stream:
        for labels in ({"on": "yes"}, {"on": "yes", "n": "2"}, {"on": "no"}):
            await api.patch(f"{path}/a", {"metadata": {"labels": labels}})
        await api.patch(f"{path}/a", {"metadata": {"labels": {"on": "yes"}}})
        await api.delete(f"{path}/a")
        seen = [await stream.next() for _ in range(5)]
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    left = seen[2][1]
    assert left["metadata"]["labels"] == {"on": "yes", "n": "2"}
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
    assert versions == sorted(set(versions))


async def test_a_watch_by_field_sees_pods_of_one_node(api: Api) -> None:
    version = (await api.pod("other"))["metadata"]["resourceVersion"]
    async with api.watch(api.at("pods"), resourceVersion=version, fieldSelector="spec.nodeName=n") as stream:
        await api.pod("elsewhere", node="m")
        await api.pod("here", node="n")
        assert await stream.take(1) == [("ADDED", "here")]


async def test_a_watch_ends_by_itself_after_its_time(api: Api) -> None:
    version = await lease(api, "a")
    began = time.monotonic()
    async with api.watch(api.at("leases", api=LEASES), resourceVersion=version, timeoutSeconds=1) as stream:
        assert await stream.rest() == []
    assert time.monotonic() - began > 0.5


async def test_a_bookmark_comes_before_the_end(api: Api) -> None:
    version = await lease(api, "a")
    query = {"resourceVersion": version, "timeoutSeconds": 4, "allowWatchBookmarks": "true"}
    async with api.watch(api.at("leases", api=LEASES), **query) as stream:
        await lease(api, "b")
        seen = await stream.rest()
    assert [kind for kind, _ in seen][:2] == ["ADDED", "BOOKMARK"]
    mark = seen[1][1]
    assert (mark["kind"], mark["apiVersion"]) == ("Lease", "coordination.k8s.io/v1")
    assert int(mark["metadata"]["resourceVersion"]) >= int(seen[0][1]["metadata"]["resourceVersion"])


async def test_initial_events_end_with_a_marked_bookmark(api: Api) -> None:
    path = api.at("leases", api=LEASES)
    await lease(api, "a")
    await lease(api, "b")
    query = {"sendInitialEvents": "True", "allowWatchBookmarks": "True", "resourceVersionMatch": "NotOlderThan"}
    async with api.watch(path, **query) as stream:
        assert sorted(await stream.take(2)) == [("ADDED", "a"), ("ADDED", "b")]
        kind, mark = await stream.next()
        assert kind == "BOOKMARK"
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await lease(api, "c")
        assert await stream.take(1) == [("ADDED", "c")]
        assert int(mark["metadata"]["resourceVersion"]) > 0


async def test_initial_events_need_their_version_rule(api: Api) -> None:
    answer = await api.get(api.at("leases", api=LEASES), watch="true", sendInitialEvents="true", timeoutSeconds=1)
    assert (answer.code, answer.reason) == (422, "Invalid")


async def test_a_watch_from_the_future_is_silent(api: Api) -> None:
    version = int(await lease(api, "a")) + 1_000_000
    async with api.watch(api.at("leases", api=LEASES), resourceVersion=version, timeoutSeconds=1) as stream:
        assert stream.response.status == 200
        await lease(api, "b")
        assert [kind for kind, _ in await stream.rest()] in ([], ["ERROR"])


async def test_a_version_that_is_none_is_refused(api: Api) -> None:
    watched = await api.get(api.at("leases", api=LEASES), watch="true", resourceVersion="yesterday")
    listed = await api.get(api.at("leases", api=LEASES), resourceVersion="yesterday")
    assert (watched.code, listed.code) == (500, 400)


@pytest.mark.parametrize("true", ["true", "True", "1", "t", "yes", ""])
async def test_booleans_are_read_as_go_reads_them(api: Api, true: str) -> None:
    version = await lease(api, "a")
    answer = await api.session.get(
        api.url + api.at("leases", api=LEASES), params={"watch": true, "resourceVersion": version, "timeoutSeconds": "1"}
    )
    assert (answer.status, await answer.text()) == (200, "")


async def test_a_status_write_is_seen_as_a_change(api: Api) -> None:
    version = (await api.pod("p", node="n"))["metadata"]["resourceVersion"]
    async with api.watch(api.at("pods"), resourceVersion=version) as stream:
        await api.patch(api.at("pods", "p/status"), {"status": {"phase": "Running"}})
        kind, obj = await stream.next()
    assert (kind, obj["status"]["phase"]) == ("MODIFIED", "Running")


async def test_a_write_that_changes_nothing_is_not_seen(api: Api) -> None:
    version = await lease(api, "a", x="y")
    path = api.at("leases", api=LEASES)
    async with api.watch(path, resourceVersion=version) as stream:
        await api.patch(f"{path}/a", {"metadata": {"labels": {"x": "y"}}})
        await lease(api, "b")
        assert await stream.take(1) == [("ADDED", "b")]
