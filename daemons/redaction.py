"""The last sweep over a text that leaves the house: secrets that are known, and what looks like one.

It comes after everything that is careful by construction (`sliceward.daemons.shown`, `Secret`), for texts that others wrote:
logs, answers of receivers, labels of alerts. It may hide too much; it must not hide too little.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
SHORTEST = 4
"""Characters: a shorter secret would tear holes into every text, and protects nothing."""

_NAMES = r"pass(?:word|wd)?|pwd|secret|token|credentials?|authorization|api[_-]?key|routing[_-]?key|private[_-]?key|signature"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?!\*{3})[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(://[^\s:/@\"']*):(?!\*{3}@)[^\s@\"']+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\b(?:gh[oprsu]_|xox[abeprs]-|glpat-|sk-)[A-Za-z0-9_-]{10,}"), HIDDEN),
    (
        re.compile(
            rf"(?i)((?:\b|_)(?:{_NAMES})\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\\?[\"']|bearer\b|basic\b|not set|set \(|null\b|none\b|true\b|false\b|\*{{3}}|[\[{{])"
            r"[^\s\"',;&}\\]+"
        ),
        rf"\1{HIDDEN}",
    ),
)


class Sweep:
    """Cuts secrets out of texts. ``found``: how many so far."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """Know these secrets, in every form in which a program may have written them."""
        forms = {form for secret in known for form in _forms(secret)}
        self._known = sorted(forms, key=len, reverse=True)
        self.found = 0

    def __call__(self, text: str) -> str:
        """Give the text without them."""
        for secret in self._known:
            times = text.count(secret)
            if times:
                self.found += times
                text = text.replace(secret, HIDDEN)
        for pattern, instead in _PATTERNS:
            text, times = pattern.subn(instead, text)
            self.found += times
        return text


def _forms(secret: str) -> Iterable[str]:
    plain = secret.strip()
    if len(plain) < SHORTEST:
        return
    yield plain
    yield quote(plain, safe="")
    yield json.dumps(plain)[1:-1]
    yield base64.b64encode(plain.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
