"""Every try: which fail, since when, and what was sent and answered."""

import asyncio
import math
from collections import Counter, defaultdict
from typing import Any, Final

import msgspec

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import each, moment, time_range, with_facets
from agents.view.records import place_in
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.errors import CodecError, NotFoundError, ViewError
from pipeline.model.batch import Batch, decode_batch, id_of, integration_of, parse_batch_id
from pipeline.view.charts import Chart, Series, Tone, stacked_bars
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.index.tables import ATTEMPTS, BATCHES
from pipeline.view.mask import mask_event
from pipeline.view.page import Page, Section
from pipeline.view.query import Condition, Operator, Query, parse_query
from pipeline.view.request import build_requests

FACETS: Final = ("verdict", "status", "kind", "integration", "attempt", "final")
USUAL_RANGE_S: Final = 24 * 3600.0
MOST_BARS: Final = 60
WIDTHS_S: Final = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 7 * 86_400)
MOST_BODY_CHARS: Final = 16_000
MOST_CURL_CHARS: Final = 19_000
"""What is shown whole, so that what is copied from the page is whole."""
VERDICTS: Final[tuple[tuple[str, Tone], ...]] = (("delivered", "good"), ("retry", "warn"), ("refused", "bad"))
OVER_TIME: Final[Columns] = (
    Column("at", "From", Kind.TIME, is_sortable=False),
    *(Column(name, name.capitalize(), Kind.INTEGER, is_sortable=False) for name, _ in VERDICTS),
)


class Requests:
    """Builds what is shown of a try's request, from the batch's record and its integration as it is now."""

    def __init__(self, parts: FlowParts) -> None:
        self._parts = parts

    async def batch_row(self, batch_id: str) -> Row | None:
        """The newest row of the index whose batch holds these events."""
        lane, first, end = _parsed(batch_id)
        query = Query(
            (
                Condition("lane", Operator.EXACT, lane),
                Condition("first", Operator.AT_MOST, first),
                Condition("end", Operator.AT_LEAST, end),
            ),
            sort="sealed_at", is_descending=True, key=BATCHES.key, limit=1,
        )  # fmt: skip
        found = await self._parts.gather.ask("batches", query)
        return next(iter([row async for row in found.rows]), None)

    async def batch_at(self, row: Row) -> Batch:
        """The batch of a row of the index, from its topic. Raises ``NotFoundError`` where retention took it."""
        record = await self._parts.records.one(self._parts.names.batches(row["kind"]), row["partition"], row["offset"])
        try:
            return decode_batch(record.value or b"")
        except CodecError as error:
            raise NotFoundError(str(error)) from error

    async def shown(self, batch_id: str, masks: frozenset[Personal], at_s: float) -> dict[str, Any]:
        """Headers, body and a command for the request of a try at ``at_s``, or ``problem``: why there is none to show."""
        try:
            row = await self.batch_row(batch_id)
            if row is None:
                return {"problem": "the batch is not in the index: it is older than the view remembers"}
            whole = await self.batch_at(row)
            batch = part_of(whole, batch_id)
            if batch is None:
                return {
                    "problem": f"{batch_id} is what was left of {whole.id}; which events these were is not recorded"
                }
        except ViewError as error:
            return {"problem": str(error)}
        entry = self._parts.integrations.snapshot.get(integration_of(batch.lane))
        if entry is None:
            return {"problem": f"integration {integration_of(batch.lane)} does not exist any more"}
        built = await build_requests(entry.integration, batch, now_s=at_s)
        if built.problem:
            return {"problem": built.problem}
        request = built.requests[0]
        body, is_masked = _shown_body(request.body, dict(request.headers), masks)
        curl = request.curl(body) if len(body) <= MOST_BODY_CHARS else ""
        return {
            "url": request.url,
            "headers": "\n".join(f"{name}: {value}" for name, value in request.headers),
            "body": body[:MOST_BODY_CHARS],
            "curl": curl if len(curl) <= MOST_CURL_CHARS else "",
            "is_masked": is_masked,
            "is_cut": len(body) > MOST_BODY_CHARS,
            "is_each": entry.integration.sends_each,
        }


class AttemptPages:
    """``/attempts`` and one try."""

    def __init__(self, parts: FlowParts, requests: Requests) -> None:
        self._gather = parts.gather
        self._requests = requests

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/attempts", self.search, nav="Attempts")
        view.page("/attempts/{partition}/{offset}", self.one)

    async def search(self, visit: Visit) -> Page:
        """Search tries; above them how many there were over time."""
        between = time_range(visit, "at")
        asked = with_facets(visit, FACETS)
        finding = self._gather.section("attempts", "attempts", asked, what="attempts", **between)
        if visit.is_export or (visit.format == "csv" and visit.parameter("section", "attempts") == "attempts"):
            return Page("Attempts", "page.html", [await finding])
        section, (over_time, chart) = await asyncio.gather(finding, self._over_time(visit))
        nothing = {
            "attempts": "No attempt fits. Without conditions: nothing was delivered since the view's memory begins."
        }
        return Page("Attempts", "page.html", [section, over_time], context={"charts": [chart], "nothing": nothing})

    async def _over_time(self, visit: Visit) -> tuple[Section, Chart]:
        end = min(moment(visit, "until") or visit.now_s, visit.now_s)
        begin = moment(visit, "since") or end - USUAL_RANGE_S
        width_s = next((width for width in WIDTHS_S if (end - begin) / width <= MOST_BARS), WIDTHS_S[-1])
        query = parse_query(visit.parameters, ATTEMPTS.columns, key=ATTEMPTS.key, sort="at")
        counted = Query(query.conditions, query.text, sort="slot", key="part", limit=None)
        for column, value, operator in (
            ("width_s", float(width_s), Operator.EXACT), ("at", begin, Operator.AT_LEAST), ("at", end, Operator.LESS),
        ):  # fmt: skip
            counted = counted.where(column, value, operator)
        found = await self._gather.ask("attempt_counts", counted, visit.masks)
        counts: defaultdict[float, Counter[str]] = defaultdict(Counter)
        async for row in found.rows:
            counts[row["slot"]][row["verdict"]] += row["rows"]
        last = math.ceil(end / width_s)
        slots = [number * width_s for number in range(max(math.floor(begin / width_s), last - 10 * MOST_BARS), last)]
        rows = [{"at": slot, **{name: counts[slot][name] for name, _ in VERDICTS}} for slot in slots]
        series = [Series(name, [row[name] for row in rows], tone) for name, tone in VERDICTS]
        chart = stacked_bars(slots, series, f"Attempts by verdict, {_words(width_s)} each")
        heading = f"Attempts by verdict, {_words(width_s)} each"
        return Section("over_time", OVER_TIME, each(rows), heading, coverage=found.coverage), chart

    async def one(self, visit: Visit) -> Page:
        """One try: its request as the sink builds it, its answer, its timing."""
        partition, offset = place_in(visit.match)
        query = Query(sort="at", key=ATTEMPTS.key, limit=1).where("partition", partition).where("offset", offset)
        found = await self._gather.ask("attempts", query, visit.masks)
        row = next(iter([row async for row in found.rows]), None)
        if row is None:
            missing = found.coverage.sentence()
            raise NotFoundError(
                f"no attempt with offset {offset} of partition {partition} is remembered"
                + (f" ({missing})" if missing else "")
            )
        visit.promise()
        others = Query(sort="at", key=ATTEMPTS.key, limit=100).where("batch", row["batch"])
        request, tries = await asyncio.gather(
            self._requests.shown(row["batch"], visit.masks, row["at"]),
            self._gather.ask("attempts", others, visit.masks),
        )
        facts = {
            "verdict": row["verdict"],
            "started_at": row["at"],
            "took_s": row["duration_s"],
            "status": row["status"],
            "try": row["attempt"],
            "events": row["events"],
            "request_bytes": row["request_bytes"],
            "answer_bytes": row["answer_bytes"],
            "next_try_at": row["next_at"],
            "became": row["final"] or "waits",
        }
        return Page(
            f"Attempt {row['attempt']} of {row['batch']}",
            "attempt.html",
            [Section("tries", ATTEMPTS.columns, tries.rows, "All tries of this batch.", coverage=tries.coverage)],
            facts,
            {"row": row, "request": request, "lead": row["detail"]},
        )


def part_of(whole: Batch, batch_id: str) -> Batch | None:
    """The events that a try of a part carried; ``None`` where its name does not say which they were."""
    lane, first, end = _parsed(batch_id)
    if whole.id == batch_id:
        return whole
    if batch_id != id_of(lane, ((first, end),)) or not any(low <= first and end <= high for low, high in whole.ranges):
        return None
    return whole.only(((first, end),))


def _parsed(batch_id: str) -> tuple[str, int, int]:
    try:
        return parse_batch_id(batch_id)
    except ValueError as error:
        raise NotFoundError(str(error)) from None


def _shown_body(body: bytes, headers: dict[str, str], masks: frozenset[Personal]) -> tuple[str, bool]:
    if "Content-Encoding" in headers:
        return "(compressed)", False
    if not masks:
        return body.decode("utf-8", "replace"), False
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "(hidden: it is no JSON, so personal data in it cannot be masked)", True
    return msgspec.json.encode(mask_event(decoded, masks)).decode(), True


def _words(width_s: float) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if width_s >= size:
            count = width_s / size
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{width_s:g} second{'' if width_s == 1 else 's'}"
