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

_NAMES = (
    r"(?=[aceimprst])(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|signature"
    r"|(?:access|account|api|client|encryption|integration|master|private|routing|service|shared|signing|ssh)[_-]?key)"
    r"(?:[_-]?(?:access[_-]?)?key)?(?:[_-]?(?:data|text|value))?\d{0,2}"
)
"""What a secret is called, or how its name ends. The letters first: most places of a text are none of its beginnings, and so cost little."""
_IS = r"\\?[\"']?\s*(?:[:=]{1,2}>?|(?<=[\"'])\s*,(?=\s*b?\\?[\"']))\s*b?"
"""What stands between a name and its value: in YAML, JSON, JSON within JSON, a variable, a query, a pair."""
_QUOTED = r"\"(?:\\.|[^\"\\\r\n])*|'(?:\\.|[^'\\\r\n])*|\\[\"'](?:\\\\(?:\\.|[^\\])|[^\\\r\n])*"
"""A value in quotes, without the closing one."""
_WORD = (
    r"(?![\[{](?:[\s\"'{}\]]|file:|env:|\Z)|not set\b|set \(|(?:bearer|basic|geniekey)\s+\*{3})"
    r"[^\s\"',;&}\\]+(?:[,;&}\\]+[^\s\"',;&}\\]+)*"
)
"""A value without quotes: up to the next space. Signs that end it in a list or a query may as well stand in a password."""
_LINE = r"(?![\[{])[^\s\"'\\][^\"'\\\r\n]*"
_NOTHING = re.compile(r"(?i)not set|set \(.*|null|none|true|false|(?:bearer|basic|geniekey)\s+\*{3}|\*{3}|")
"""What may stand in the place of a secret and is none: whether there is one, or that it was cut out before."""
_CHATS = r"hooks\.slack(?:-gov)?\.com|hc-ping\.com|discord(?:app)?\.com/api/webhooks|chat\.googleapis\.com|[\w.-]+\.webhook\.office\.com|api\.telegram\.org"

_LOOKS: tuple[re.Pattern[str], ...] = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(rf"(?i)authorization{_IS}(?P<value>{_QUOTED}|{_LINE})"),
    re.compile(r"(?i)\b(?:bearer|basic|geniekey)\s+(?P<value>(?!\*{3})[A-Za-z0-9._~+/=-]{6,})"),
    # Up to the last @: a password may hold one. What was cut out before is not cut out with what stands before it.
    re.compile(r"://[^\s:/@\"']{0,256}:(?P<value>(?:(?!://)[^\s\"']){1,4096})(?<!:\*{3})@"),
    re.compile(r"://(?P<value>[^\s:/@\"']{16,4096})@"),
    re.compile(rf"(?i)://(?:{_CHATS})/(?P<value>[^\s\"'<>\\]+)"),
    re.compile(rf"(?i)\bcookie{_IS}(?P<value>{_QUOTED}|{_LINE})"),
    re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,}"),
    # Google's API keys and OAuth tokens, AWS' access keys.
    re.compile(r"\b(?:AIza[\w-]{20,}|ya29\.[\w-]{20,}|A(?:KIA|SIA)[A-Z0-9]{16})"),
    re.compile(r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"),
    # GitHub, Slack, GitLab, OpenAI, Google's OAuth secrets, DigitalOcean, Stripe, Hugging Face, npm, PyPI, Vault, SendGrid, Databricks.
    re.compile(r"\b(?:gh[oprsu]_|github_pat_|xox[abeprs]-|xapp-|gl(?:pa|r)t-|sk-|GOCSPX-|dop_v1_)[A-Za-z0-9_-]{10,}"),
    re.compile(r"\b(?:[prs]k_(?:live|test)_[A-Za-z0-9]{10,}|(?:hf|npm)_[A-Za-z0-9]{16,}|pypi-[A-Za-z0-9_-]{40,})"),
    re.compile(r"\b(?:hv[brs]\.[\w-]{10,}|SG\.[\w-]{10,}\.[\w-]{10,}|dapi[0-9a-f]{32})"),
    re.compile(r"(?i)\bapi[ _-]?key\s+(?P<value>[0-9a-f]{32,64})\b"),
    # A line of .netrc; curl's -u; mosquitto's --pw; sshpass' and mysql's -p.
    re.compile(r"(?i)\blogin\s+\S{1,256}\s+password\s+(?P<value>\S{1,4096})"),
    re.compile(r"(?<![\w-])(?:-u ?|--user[ =])\s*[\"']?[^\s:\"']{0,256}:(?P<value>[^\s\"']{1,4096})"),
    re.compile(rf"(?<![\w-])--pw[ =]\s*(?P<value>{_QUOTED}|(?!-){_WORD})"),
    re.compile(rf"\b(?:sshpass|mysql\w{{0,16}})(?=\s)[^\r\n]{{0,256}}?\s-p ?(?P<value>{_QUOTED}|(?!-){_WORD})"),
    # A block of YAML.
    re.compile(rf"(?i){_NAMES}[ \t]*+:?[ \t]*+[|>][+-]?\d?[ \t]*+\r?\n(?P<value>(?:[ \t]++\S[^\n]*+(?:\n|\Z))++)"),
    re.compile(rf"(?i){_NAMES}{_IS}(?P<value>{_QUOTED}|{_WORD})"),
    # A list, Go's %q, a client's -P.
    re.compile(rf"(?i){_NAMES}s?{_IS}\[\s*+(?P<value>[^\]\s{{\[][^\]{{\[]{{0,4096}}+)(?=\])"),
    re.compile(rf"(?i)\b(?:pass(?:word|wd|phrase)|pwd)\s+(?P<value>{_QUOTED})"),
    re.compile(rf"(?<![\w-])-P\s+(?P<value>{_QUOTED}|(?!-){_WORD})"),
    re.compile(rf"(?i)(?<![\w-])--[\w-]{{0,40}}{_NAMES}\\?[\"']?,?\s+(?P<value>{_QUOTED}|(?!-){_WORD})"),
)
PATHS = re.compile(r"(?i)https?://[^\s/?#\"'<>\\]+[/?#](?P<value>[^\s\"'<>\\]+)")
"""Where a receiver is: the path of many a hook lets in whoever knows it. For what is given to others."""


class Sweep:
    """Cuts secrets out of texts. ``found``: how many so far. ``further``: patterns besides ours, whose ``value`` is cut out."""

    def __init__(self, known: Iterable[str] = (), *, further: Iterable[re.Pattern[str]] = ()) -> None:
        """Know these secrets, in every form in which a program may have written them."""
        forms = {form for secret in known for form in _forms(secret)}
        self._known = sorted(forms, key=len, reverse=True)
        self._looks = (*_LOOKS, *further)
        self.found = 0

    def __call__(self, text: str) -> str:
        """Give the text without them."""
        for secret in self._known:
            times = text.count(secret)
            if times:
                self.found += times
                text = text.replace(secret, HIDDEN)
        for pattern in self._looks:
            text = pattern.sub(self._hidden, text)
        return text

    def _hidden(self, match: re.Match[str]) -> str:
        start, end = match.span("value") if "value" in match.re.groupindex else match.span()
        inner = match.string[start:end].lstrip("\\\"'")
        if match.string[end : end + 1] == "]":  # the last of a list: its quote closes
            inner = inner.rstrip("\\\"' \t\r\n")
            end = match.string.rindex(inner, start, end) + len(inner)
        if _NOTHING.fullmatch(inner.strip(" ,;&}]")):
            return match[0]
        self.found += 1
        return f"{match.string[match.start() : end - len(inner)]}{HIDDEN}{match.string[end : match.end()]}"


def _forms(secret: str) -> Iterable[str]:
    plain = secret.strip()
    if len(plain) < SHORTEST:
        return
    raw = _bytes(plain)
    yield plain
    yield quote(raw, safe="")
    yield json.dumps(plain)[1:-1]
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        # As it stood in the environment: Python reads each byte there that is no UTF-8 as half of a pair.
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
