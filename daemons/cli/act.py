"""``sliceward approve|abort|pause|resume``: the four things that a human tells the coordinator. Each is audited with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.output import output_option, print_data

if TYPE_CHECKING:
    from collections.abc import Mapping

REASON = click.option("--reason", required=True, help="Why; stands in the record.")
LEFT = ("pending", "running")
YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(help="Let an incident that waits for approval go on.")
@click.argument("incident")
@REASON
@YES
@output_option
@with_client
def approve(client: Client, incident: str, *, reason: str, yes: bool, output: str) -> None:
    """Show what will be done, ask, approve."""
    if not yes:
        _ask(client, "approve", incident)
    _tell(client.post(f"incidents/{_name(incident)}/approve", {"reason": reason}), output)


@click.command(help="Stop working on an incident: what was taken out of service is given back, a human goes on.")
@click.argument("incident")
@REASON
@YES
@output_option
@with_client
def abort(client: Client, incident: str, *, reason: str, yes: bool, output: str) -> None:
    """Show what will be stopped, ask, abort."""
    if not yes:
        _ask(client, "abort", incident)
    _tell(client.post(f"incidents/{_name(incident)}/abort", {"reason": reason}), output)


@click.command(help="Stop all harm: nothing new is taken out of service or moved. Healing goes on.")
@REASON
@output_option
@with_client
def pause(client: Client, reason: str, output: str) -> None:
    """Pause."""
    _about_all(client, "pause", reason, output)


@click.command(help="Let sliceward act again after a pause.")
@REASON
@output_option
@with_client
def resume(client: Client, reason: str, output: str) -> None:
    """Resume."""
    _about_all(client, "resume", reason, output)


def _name(incident: str) -> str:
    return incident.removeprefix("incident/")


def _ask(client: Client, verb: str, incident: str) -> None:
    now, plan = client.get(f"incidents/{_name(incident)}"), client.get(f"incidents/{_name(incident)}/plan")
    left = [one for one in plan["changes"] if one["state"] in LEFT and one["applies"] is not False and not one["on_failure_only"]]
    click.echo(f"{now['id']}: {now['kind']} on {now['part']}, {now['phase']}", err=True)
    click.echo(
        f"  playbook {plan['playbook'] or 'none'}; still to do: {', '.join(one['step'] for one in left) or 'nothing'}", err=True
    )
    hurt = [text for text in (f"gang {now['gang']}" if now["gang"] else "", f"{len(now['domain'])} hosts") if text]
    click.echo(f"  about {' and '.join(hurt)}", err=True)
    click.confirm(f"{verb.capitalize()} it?", abort=True, err=True)


def _tell(incident: Mapping[str, Any], output: str) -> None:
    if output == "table":
        click.echo(f"{incident['id']}: {incident['how'] or incident['phase']}")
    else:
        print_data(incident, output)


def _about_all(client: Client, verb: str, reason: str, output: str) -> None:
    answer = client.post(verb, {"reason": reason})
    if output == "table":
        click.echo("paused: harm is stopped, healing goes on" if answer["paused"] else "acting again")
    else:
        print_data(answer, output)
