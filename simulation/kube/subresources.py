"""Doors beside the object: binding, tokens and the reviews that are answered and not kept."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from sliceward.simulation.kube import kinds, refusal
from sliceward.simulation.kube.store import new_uid, stamp

if TYPE_CHECKING:
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.writes import Call, Writer

_TOKEN_SECONDS = 3600


def bind(writer: Writer, call: Call, binding: Json) -> Json:
    """Give a pod its node; a second time is a 409."""
    item = writer.get(call)
    pod = item.object()
    target = binding.get("target", {}).get("name", "")
    if not target:
        cause = refusal.required_value("target.name")
        raise refusal.invalid(kinds.POD, call.name, [cause])
    asked_uid = binding.get("metadata", {}).get("uid") or item.uid
    if asked_uid != item.uid:
        why = f"Precondition failed: UID in precondition: {asked_uid}, UID in object meta: {item.uid}"
        raise refusal.conflict(call.kind, call.name, why)
    if item.leaving:
        raise _cannot_bind(call.name, f"pod {call.name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        raise _cannot_bind(call.name, f'pod {call.name} is already assigned to node "{pod["spec"]["nodeName"]}"')
    if pod["spec"].get("schedulingGates"):
        raise _cannot_bind(call.name, f"pod {call.name} has non-empty .spec.schedulingGates")
    pod["spec"]["nodeName"] = target
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(writer.store.clock())}
    status = pod.setdefault("status", {})
    status["conditions"] = [c for c in status.get("conditions", ()) if c["type"] != "PodScheduled"] + [scheduled]
    pod["metadata"]["generation"] = pod["metadata"].get("generation", 0) + 1
    writer.settle(replace(call, subresource=""), pod, item.ownership)
    return refusal.success()


def _cannot_bind(name: str, why: str) -> refusal.Refusal:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return refusal.Refusal(409, "Conflict", message, {"name": name, "kind": "pods/binding"})


def token_request(writer: Writer, call: Call, request: Json) -> Json:
    """Issue a token for a service account; it proves nothing and is never looked at again."""
    account = writer.get(call)
    spec = request.setdefault("spec", {})
    seconds = spec.setdefault("expirationSeconds", _TOKEN_SECONDS)
    spec.setdefault("audiences", ["https://kubernetes.default.svc"])
    user = f"system:serviceaccount:{call.namespace}:{call.name}"
    now = writer.store.clock()
    claims = {"sub": user, "jti": new_uid(), "exp": int(now.timestamp()) + seconds, "aud": spec["audiences"]}
    parts = [msgspec.json.encode({"alg": "none"}), msgspec.json.encode(claims), secrets.token_bytes(16)]
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    meta = {"name": call.name, "namespace": call.namespace, "creationTimestamp": stamp(now)}
    status = {"token": token, "expirationTimestamp": stamp(now + timedelta(seconds=seconds))}
    del account
    return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": meta, "spec": spec, "status": status}


def review(call: Call, asked: Json) -> Json:
    """Answer a review: every bearer of a token of ours is who it says, and everybody may do everything."""
    head = {"kind": call.kind.kind, "apiVersion": call.kind.api_version, "metadata": {}, "spec": asked.get("spec", {})}
    if call.kind == kinds.SELF_ACCESS_REVIEW:
        return head | {"status": {"allowed": True}}
    return head | {"status": _authenticated(asked.get("spec", {}).get("token", ""))}


def _authenticated(token: str) -> Json:
    parts = token.split(".")
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, msgspec.DecodeError):
        return {"user": {}, "error": "invalid bearer token"}
    groups = ["system:serviceaccounts", "system:authenticated"]
    return {"authenticated": True, "user": {"username": claims["sub"], "groups": groups}, "audiences": claims["aud"]}
