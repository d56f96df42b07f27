"""The emulated API server over HTTP: requests in, the rules of this folder applied, answers and watch streams out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from aiohttp import web

from sliceward.simulation.kube import deletion, discovery, kinds, listing, refusal, requests, streams, subresources, translation
from sliceward.simulation.kube.disruption import Budgets
from sliceward.simulation.kube.faults import Faults
from sliceward.simulation.kube.garbage import Garbage
from sliceward.simulation.kube.store import Store, now_utc
from sliceward.simulation.kube.writes import Call, Writer
from sliceward.simulation.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from sliceward.simulation.kube.requests import Route

_LARGEST_BODY = 8 * 1024**2
"""Bytes; the real server takes 3 MiB."""

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(slots=True)
class EmulatedApi:
    """A running emulator. ``store`` is its state, ``faults`` what goes wrong on command."""

    store: Store
    faults: Faults
    writer: Writer
    budgets: Budgets
    pages: listing.Pages = field(default_factory=listing.Pages)
    url: str = ""
    bookmark_period: float = 60.0

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for this server to a file; any token is taken."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "emulated",
            "clusters": [{"name": "emulated", "cluster": {"server": self.url}}],
            "users": [{"name": "anybody", "user": {"token": "emulated"}}],
            "contexts": [{"name": "emulated", "context": {"cluster": "emulated", "user": "anybody"}}],
        }
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    kubeconfig = write_kubeconfig

    def compact(self) -> None:
        """Forget all history: watches from older versions and later pages of lists are answered 410."""
        self.store.compact()
        self.pages.forget()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, faults included."""
        try:
            return await streams.with_faults(self, request)
        except refusal.Refusal as no:
            return requests.refused(no)

    async def serve(self, request: web.Request, watch_faults: streams.WatchFaults) -> web.StreamResponse:
        """Answer one request by the rules."""
        route = requests.route(self.store, request)
        if route is None:
            found = discovery.answer(self.store, requests.parts(request))
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found)
        if route.verb == "watch":
            return await streams.watch(self, request, route, watch_faults)
        response = await self._answer(route, request)
        if isinstance(response.body, bytes):
            response.body = translation.to_spoken(route.spoken, response.body)
        return response

    async def _answer(self, route: Route, request: web.Request) -> web.Response:
        match route.verb:
            case "list":
                asked = requests.list_request(request, route.call)
                return requests.answered(listing.list_objects(self.store, self.pages, route.call.kind, asked))
            case "get":
                return requests.answered(self.writer.get(route.call).raw)
            case _:
                return self._write(route, translation.to_kept(route.spoken, await _body(request)), request)

    def _write(self, route: Route, body: Any, request: web.Request) -> web.Response:  # noqa: ANN401 - JSON
        call = route.call
        if route.verb == "patch":
            item, new = self.writer.patch(call, body, request.content_type)
            return requests.answered(item.raw, 201 if new else 200)
        if not isinstance(body, dict):
            raise refusal.bad_request("the body must be a JSON object")
        match route.verb:
            case "create":
                return self._create(call, body)
            case "update":
                item, new = self.writer.replace(call, body)
                return requests.answered(item.raw, 201 if new else 200)
            case "delete":
                return self._delete(call, deletion.options_from(body, dict(request.query)))
            case "deletecollection":
                options = deletion.options_from(body, dict(request.query))
                selector = requests.selector(request, call.kind)
                items = deletion.delete_collection(self.writer, call, selector, options)
                return requests.answered(requests.list_of(call.kind, items, self.store.version))
        raise refusal.Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _create(self, call: Call, body: dict[str, Any]) -> web.Response:
        if call.kind.ephemeral:
            return web.json_response(subresources.review(call, body), status=201)
        match call.subresource:
            case "eviction":
                return web.json_response(self.budgets.evict(call, body), status=201)
            case "binding":
                return web.json_response(subresources.bind(self.writer, call, body), status=201)
            case "token":
                return web.json_response(subresources.token_request(self.writer, call, body), status=201)
            case "":
                requests.check_type(call.kind, body)
                return requests.answered(self.writer.create(call, body).raw, 201)
        raise refusal.no_such_path()

    def _delete(self, call: Call, options: deletion.DeleteOptions) -> web.Response:
        obj, gone = deletion.delete(self.writer, call, options)
        if gone and call.kind not in {kinds.POD, kinds.SERVICE_ACCOUNT}:
            return web.json_response(refusal.success(call.kind, call.name, obj["metadata"]["uid"]))
        return web.json_response(obj)


async def _body(request: web.Request) -> Any:  # noqa: ANN401 - JSON
    raw = await request.read()
    if not raw:
        return {}
    if "protobuf" in request.content_type or "cbor" in request.content_type:
        raise refusal.unsupported_media(
            f"the body of the request was in an unknown format - {request.content_type} is not emulated"
        )
    try:
        if "yaml" in request.content_type and not raw.lstrip().startswith(b"{"):
            return yaml.safe_load(raw)
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise refusal.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def make_api(
    *, faults: Faults | None = None, clock: Callable[[], datetime] = now_utc, log_capacity: int | None = None
) -> EmulatedApi:
    """Build the emulator without a socket; inside a running event loop."""
    store = Store(clock=clock) if log_capacity is None else Store(clock=clock, log_capacity=log_capacity)
    writer = Writer(store)
    budgets = Budgets(writer)
    store.listeners += [Garbage(writer).notice, budgets.notice]
    for name in _NAMESPACES:
        writer.create(Call(kinds.NAMESPACE), {"metadata": {"name": name}})
        writer.create(Call(kinds.SERVICE_ACCOUNT, name), {"metadata": {"name": "default"}})
    return EmulatedApi(store, faults if faults is not None else Faults(), writer, budgets)


@asynccontextmanager
async def running_api(
    port: int = 0,
    faults: Faults | None = None,
    *,
    clock: Callable[[], datetime] = now_utc,
    log_capacity: int | None = None,
) -> AsyncIterator[EmulatedApi]:
    """Serve the emulator on loopback for as long as the block runs; port 0 takes a free one."""
    api = make_api(faults=faults, clock=clock, log_capacity=log_capacity)
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with served(app, port=port, patience=0.1, gone_ends=True) as api.url:
        yield api
