"""``distributary replay``: what was parked is sent again, or what the source topic still holds is sent to one integration."""

import asyncio
import json
import math
import time
from collections.abc import Iterable
from typing import Any

import click

from agents.commands import backfill as filling
from agents.commands import replay_parked as replaying
from agents.commands.choose import agreed, integration_named
from agents.commands.ledger import brokers_of
from agents.commands.merged import knowing, with_stored
from agents.topology import Names
from pipeline.config.load import load
from pipeline.model.moments import format_time, parse_fixed_time, parse_time
from pipeline.replay.backfill import checked_again, parse_offset
from pipeline.replay.parked import Named, Selection
from pipeline.replay.plan import make_plan
from pipeline.sinks.registry import SINKS

BATCHES_A_SECOND = 20.0
EVENTS_A_SECOND = 5000.0
_OF_PARKED = ("batches", "kinds", "since", "until", "reasons", "takes_all")
_OF_BACKFILL = ("begin", "offsets", "end", "again")


@click.command("replay", short_help="Send parked batches again, or backfill.")
@click.option("--batch", "batches", multiple=True, metavar="ID", help="What is parked of this batch, e.g. crm:0-100.")
@click.option("--integration", "integrations", multiple=True, metavar="ID", help="What is parked of this integration.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="What is parked of sinks of this kind.")
@click.option("--reason", "reasons", multiple=True, metavar="TEXT", help="What was parked for a reason with this text.")
@click.option("--since", metavar="TIME", help="What was parked at this time or later.")
@click.option("--until", metavar="TIME", help="What was parked before this time.")
@click.option("--all", "takes_all", is_flag=True, help="All that is parked.")
@click.option(
    "--backfill",
    "is_backfill",
    is_flag=True,
    help="Send an --integration what the source topic holds, instead of what is parked.",
)
@click.option("--from", "begin", metavar="TIME", help="With --backfill: begin with records of this time.")
@click.option(
    "--from-offset",
    "offsets",
    multiple=True,
    metavar="PART:OFFSET",
    help="With --backfill: begin at this offset, and read only partitions that are named so.",
)
@click.option("--to", "end", metavar="TIME", help="With --backfill: end before this time.  [default: now]")
@click.option("--again", metavar="NAME", help="With --backfill: send again what was sent before; once for each NAME.")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1_000_000),
    metavar="N",
    help="Batches a second at most (20), or with --backfill events that match (5000).",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only show what would be sent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(is_backfill: bool, rate: float | None, is_dry: bool, yes: bool, as_json: bool, **chosen: Any) -> None:
    """Send parked batches again, under the ids that they had.

    Several options of one kind mean any of them, options of different kinds all of them. What is meant is counted and
    shown, then you are asked. A batch is taken up once however often it is asked for, so the command may be stopped and
    given again at any time.

    --backfill sends one integration the events that its filters pick from the source topic, in requests marked as backfill.
    Given again, the same command goes on where it stopped.

    TIME is 2026-11-22T10:00Z, 2026-11-22, now, or 2h for two hours ago; without a zone it is UTC.
    """
    if rate is not None and math.isnan(rate):  # which no range keeps out, and no bucket holds back
        raise click.UsageError("--rate nan is no rate: say how many a second")
    _refuse_empty(chosen)
    _refuse_mixed(chosen, is_backfill=is_backfill)
    if is_backfill:
        status = _backfill(chosen, rate or EVENTS_A_SECOND, is_dry=is_dry, yes=yes, as_json=as_json)
    else:
        status = _replay(chosen, rate or BATCHES_A_SECOND, is_dry=is_dry, yes=yes, as_json=as_json)
    if status:
        raise SystemExit(status)


def _option_names() -> dict[str | None, str]:
    return {option.name: option.opts[0] for option in click.get_current_context().command.params}


def _refuse_empty(chosen: dict[str, Any]) -> None:
    """Nothing is in everything: a variable that a script forgot to set must not mean all that is parked."""
    names = _option_names()
    for name, given in chosen.items():
        if any(isinstance(text, str) and not text.strip() for text in (given if isinstance(given, tuple) else [given])):
            raise click.UsageError(f"{names[name]} is empty: say what is meant, or leave it out")


def _refuse_mixed(chosen: dict[str, Any], *, is_backfill: bool) -> None:
    names = _option_names()
    for name in _OF_PARKED if is_backfill else _OF_BACKFILL:
        if chosen[name]:
            raise click.UsageError(
                f"{names[name]} does not go with --backfill"
                if is_backfill
                else f"{names[name]} goes with --backfill only"
            )


def _replay(chosen: dict[str, Any], rate: float, *, is_dry: bool, yes: bool, as_json: bool) -> int:
    selection = _selection(chosen)
    settings = load()
    brokers, names = brokers_of(settings), Names(settings.app)
    settings = with_stored(settings, brokers)
    pending = asyncio.run(replaying.read_pending_rows(brokers, names))
    for name in sorted(selection.integrations - {batch.integration for batch in pending.parked}):
        integration_named(settings, name)
    plan = make_plan(selection, pending, settings.integrations)
    if not as_json:
        replaying.show(plan)
    status = 1 if plan.has_mistakes else 0
    report = {**plan.as_json(), "replayed": None}
    if plan.batches and not is_dry and (yes or agreed(f"Replay {len(plan.batches):,} batches?")):
        replayed = asyncio.run(replaying.replay(brokers, names, plan, per_second=rate))
        report["replayed"] = replayed.as_json()
        if not as_json:
            replaying.tell(replayed, plan)
        status = replayed.stopped_with or (1 if replayed.gone else status)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    return status


def _selection(chosen: dict[str, Any]) -> Selection:
    now = time.time()
    conditions = [name for name in (*_OF_PARKED[:-1], "integrations") if chosen[name]]
    if conditions and chosen["takes_all"]:
        raise click.UsageError(
            f"--all means everything that is parked, {_option_names()[conditions[0]]} only some of it; give one of them"
        )
    if not conditions and not chosen["takes_all"]:
        raise click.UsageError(
            "say which: --batch, --integration, --kind, --reason, --since, --until; or --all of them"
        )
    unknown = sorted(set(chosen["kinds"]) - {spec.kind for spec in SINKS})
    if unknown:
        raise click.UsageError(f"there is no kind {unknown[0]}; there are {', '.join(spec.kind for spec in SINKS)}")
    try:
        selection = Selection(
            batches=tuple(Named.parse(text) for text in chosen["batches"]),
            integrations=frozenset(chosen["integrations"]),
            kinds=frozenset(chosen["kinds"]),
            reasons=chosen["reasons"],
            since=parse_time(chosen["since"], now) if chosen["since"] else None,
            until=parse_time(chosen["until"], now) if chosen["until"] else None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _refuse_backward("since", selection.since, "until", selection.until)
    return selection


def _backfill(chosen: dict[str, Any], rate: float, *, is_dry: bool, yes: bool, as_json: bool) -> int:
    if len(chosen["integrations"]) != 1:
        raise click.UsageError("--backfill needs one --integration")
    wish = _wish(chosen)
    settings = knowing(load(), chosen["integrations"][0], brokers_of)
    integration = integration_named(settings, chosen["integrations"][0])
    brokers = brokers_of(settings)
    found = asyncio.run(filling.plan(settings, brokers, integration, wish))
    if not as_json:
        filling.show(found, settings)
    report = {**found.as_json(), "read": None, "sent": False}
    status = 0
    if found.records and (is_dry or yes or agreed(f"Send {integration.id} what matches?")):
        filled = asyncio.run(filling.run(settings, brokers, found, per_second=rate, sends=not is_dry))
        report |= {"read": filled.as_json(), "sent": not is_dry}
        status = filled.stopped_with
        if not as_json:
            filling.tell(filled, found, sends=not is_dry)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    return status


def _wish(chosen: dict[str, Any]) -> filling.Wish:
    now = time.time()
    if chosen["begin"] and chosen["offsets"]:
        raise click.UsageError("--from and --from-offset are two beginnings; give one of them")
    if not chosen["begin"] and not chosen["offsets"]:
        raise click.UsageError("--backfill needs a beginning: --from TIME, or --from-offset PART:OFFSET")
    try:
        wish = filling.Wish(
            begin_at=_beginning(chosen["begin"], now) if chosen["begin"] else None,
            offsets=_offsets(chosen["offsets"]),
            end_at=parse_time(chosen["end"], now) if chosen["end"] and chosen["end"] != "now" else None,
            again=checked_again(chosen["again"]) if chosen["again"] else "",
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _refuse_backward("from", wish.begin_at, "to", wish.end_at)
    return wish


def _offsets(texts: Iterable[str]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for text in texts:
        partition, offset = parse_offset(text)
        if partition in offsets:
            raise ValueError(
                f"--from-offset names partition {partition} twice, {partition}:{offsets[partition]} and {text.strip()}; "
                "give one beginning for each partition"
            )
        offsets[partition] = offset
    return offsets


def _refuse_backward(begin_name: str, begin: float | None, end_name: str, end: float | None) -> None:
    if begin is not None and end is not None and begin > end:
        raise click.UsageError(
            f"--{begin_name} {format_time(int(begin))} is later than --{end_name} {format_time(int(end))}, so nothing lies between; "
            "exchange them"
        )


def _beginning(text: str, now: float) -> float:
    try:
        return parse_fixed_time(text)
    except ValueError:
        fixed = format_time(int(parse_time(text, now)))
        raise ValueError(
            f"--from {text} would be another time when the command is given again, which then could not go on where it stopped; "
            f"write --from {fixed}"
        ) from None
