"""The one program: a table of commands, of which only the chosen one's module is loaded.

All daemons together take two seconds to import; ``sliceward --help`` takes a twentieth. The table therefore names each
command's module as text: the only place in sliceward where an import happens after the start.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sliceward.daemons.version import version
from sliceward.topology.errors import Misconfigured, SlicewardError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: where it is (``module:attribute``), what it does in one line, and the extra that brings what it needs.

    ``spared``: packages that what it needs would load wherever they are installed, and nobody uses here.
    """

    target: str
    about: str
    extra: str
    spared: tuple[str, ...] = ()


_DAEMONS, _CLI = "sliceward.daemons", "sliceward.daemons.cli"

COMMANDS: Mapping[str, Entry] = {
    "agent": Entry(
        f"{_DAEMONS}.agent.command:command",
        "Read this TPU host's chips and send frames (one per host).",
        "agent",
        # tpu-info brings it for its own screen, and structlog then paints tracebacks with it: 3 MB on every host.
        spared=("rich",),
    ),
    "watcher": Entry(f"{_DAEMONS}.watcher.command:command", "Turn frames into findings (one per cluster).", "watcher"),
    "coordinator": Entry(f"{_DAEMONS}.coordinator.command:command", "Turn findings into healing (one per fleet).", "coordinator"),
    "all-in-one": Entry(f"{_DAEMONS}.all_in_one:command", "Watcher, coordinator and broker in one process.", "demo"),
    "demo": Entry(f"{_DAEMONS}.demo.command:command", "A simulated fleet, a fault, and the healing of it.", "demo"),
    "check": Entry(f"{_CLI}.check:check", "Say line by line what is reachable, and what to do about what is not.", "coordinator"),
    "support-bundle": Entry(
        f"{_CLI}.support_bundle:support_bundle", "Write one redacted archive for whoever helps you.", "coordinator"
    ),
    "get": Entry(f"{_CLI}.get:get", "List incidents, findings, hosts, cubes, slices, gangs, links, quota, pages.", "coordinator"),
    "describe": Entry(f"{_CLI}.describe:describe", "Show one thing and everything that is known about it.", "coordinator"),
    "explain": Entry(
        f"{_CLI}.describe:explain", "Tell why sliceward did, or did not; why a gang waits; what would help.", "coordinator"
    ),
    "what-if": Entry(
        f"{_CLI}.placement:what_if", "Say what would follow if hosts, links, switches or blocks came or went.", "coordinator"
    ),
    "fleet": Entry(
        f"{_CLI}.fleet:fleet",
        "Figures of the fleet as a whole: fragmentation, guarantees, spares, moves that would pay, problems.",
        "coordinator",
    ),
    "approve": Entry(f"{_CLI}.act:approve", "Let a waiting incident go on.", "coordinator"),
    "abort": Entry(f"{_CLI}.act:abort", "End an incident's run; what was taken is given back.", "coordinator"),
    "pause": Entry(f"{_CLI}.act:pause", "Stop all harm; healing goes on.", "coordinator"),
    "resume": Entry(f"{_CLI}.act:resume", "End a pause.", "coordinator"),
    "silence": Entry(f"{_CLI}.silence:silence", "Leave hosts, cubes, gangs or playbooks alone for a while.", "coordinator"),
    "playbook": Entry(f"{_CLI}.playbook:playbook", "Lint playbooks, or plan what they would do.", "coordinator"),
    "rules": Entry(f"{_CLI}.rules:rules", "Lint rules, run the cases beside them, or write their pages.", "watcher"),
    "replay": Entry(f"{_CLI}.replay:replay", "Run the detectors over a recording, and score them against labels.", "watcher"),
    "manifests": Entry(f"{_DAEMONS}.manifests.command:command", "Print or write what is deployed to Kubernetes.", "coordinator"),
    "config": Entry(f"{_CLI}.config:config", "Print a daemon's configuration schema, or check a file against it.", "coordinator"),
}


def _load(name: str, entry: Entry) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    try:
        with _sparing(entry.spared):
            found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as missing:
        if (missing.name or "sliceward").partition(".")[0] == "sliceward":
            raise
        raise click.ClickException(
            f"`sliceward {name}` needs the package {missing.name}, which is not installed.\n"
            f'Install what it needs: pip install "sliceward[{entry.extra}]"'
        ) from missing
    if not isinstance(found, click.Command):
        raise TypeError(f"{entry.target} is no click command")
    return found


@contextmanager
def _sparing(packages: Sequence[str]) -> Iterator[None]:
    """Let packages that are not loaded yet look as if they were not installed, while inside."""
    spared: dict[str, Any] = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(spared)  # None there: the import raises ModuleNotFoundError (Python reference, section 5.3.1)
    try:
        yield
    finally:
        for name in spared:
            del sys.modules[name]


class Table(click.Group):
    """A click group over a table of entries; loads a command when it is chosen, never for help."""

    def __init__(self, name: str, *, entries: Mapping[str, Entry], about: str, params: list[click.Parameter]) -> None:
        """``entries`` in the order in which help shows them."""
        super().__init__(name, help=about, params=params, no_args_is_help=True)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Give the names in the order of the table."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Load the chosen command."""
        entry = self._entries.get(cmd_name)
        return None if entry is None else _load(cmd_name, entry)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown name with the nearest known one."""
        if args and args[0] not in self._entries and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._entries, n=1)
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """Write the table without loading a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in self._entries.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 (click's signature)
    if value and not ctx.resilient_parsing:
        click.echo(f"sliceward {version()}")
        ctx.exit()


cli = Table(
    "sliceward",
    entries=COMMANDS,
    about="Keeps TPU slices healthy and the gangs on them running.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        )
    ],
)


def main() -> None:
    """Run the command line; exit 2 where the user's input is wrong, 1 where the other side said no or nothing."""
    # gRPC's core reads this once, at its import, and else tells each closed connection on standard error.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        cli(prog_name="sliceward")
    except SlicewardError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, Misconfigured) else 1)
