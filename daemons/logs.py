"""Logs: one event per decision as one JSON line, or coloured text on a terminal. Libraries' own lines take the same way."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from sliceward.daemons.redaction import Sweep

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sliceward.daemons.settings import LogSettings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging to write to ``stream`` (default: standard error)."""
    out = stream or sys.stderr
    as_json = settings.format == "json" or (settings.format == "auto" and not out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, structlog.processors.StackInfoRenderer(), *ending],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(_Malformed())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _named],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending, _swept],
        )
    )
    # Libraries speak only from warning on: what they tell at info is not a decision of ours.
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[settings.level], logging.WARNING), force=True)


def _named(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401 (structlog's)
    record = event.get("_record")
    if record is None:
        return event
    hint = {"what_to_do": record.what_to_do} if hasattr(record, "what_to_do") else {}
    return {**event, "logger": record.name, **hint}


class _Malformed:
    """Lets pass every record, but of a request that cannot be read not the request, whose header may hold a token, and each kind once.

    The server counts them all; who sends one sends thousands.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or type(error).__module__ != "aiohttp.http_exceptions":
            return True
        name = type(error).__name__
        if name in self._told:
            return False
        self._told.add(name)
        record.msg, record.args, record.exc_info = f"malformed request refused: {name}", (), None
        record.__dict__["what_to_do"] = "Find the client that sends it; more of this kind are counted, not logged"
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _swept(_logger: Any, _method: str, line: Any) -> str:  # noqa: ANN401 (structlog's)
    """Cut out of a library's line, as it was rendered, what looks like a secret: what they tell is not in our hands."""
    return Sweep()(str(line))
