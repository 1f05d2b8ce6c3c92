"""``/audit``: every change and every act; and one of them, key by key."""

from typing import Final

from agents.view.gather import Gather
from agents.view.pages.browsing import each, time_range, with_facets
from agents.view.server import View, Visit
from pipeline.errors import NotFoundError
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.query import Query

FACETS: Final = ("what", "who")
LONGEST_REVISION: Final = 15
_CHANGES: Final[Columns] = (
    Column("key", "Key", Kind.CODE, "The setting, with dots; or what else was noted.", is_sortable=False),
    Column("before", "Before", Kind.JSON, "Its value before; secrets are masked.", is_sortable=False),
    Column("after", "After", Kind.JSON, "Its value since then.", is_sortable=False),
)


class AuditPages:
    """The two pages."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather

    def register(self, view: View) -> None:
        """Put them on ``view``."""
        view.page("/audit", self.search, nav="Audit")
        view.page("/audit/{revision}", self.one)

    async def search(self, visit: Visit) -> Page:
        """Search changes and acts."""
        asked = with_facets(visit, FACETS)
        section = await self._gather.section("audit", "audit", asked, what="entries", **time_range(visit, "at"))
        nothing = {"audit": "Nobody has changed anything, and nobody has replayed, resumed or tried anything."}
        return Page("Audit", "page.html", [section], context={"nothing": nothing})

    async def one(self, visit: Visit) -> Page:
        """One change or act."""
        revision = visit.match["revision"]
        row: Row | None = None
        if revision.isascii() and revision.isdigit() and len(revision) <= LONGEST_REVISION:
            query = Query(sort="revision", key="revision", limit=1).where("revision", int(revision))
            found = await self._gather.ask("audit", query, visit.masks)
            row = next(iter([row async for row in found.rows]), None)
        if row is None:
            raise NotFoundError(
                f"the audit log has no entry {revision[:LONGEST_REVISION]}; old ones are removed in time"
            )
        changes = changes_of(row["details"] or {})
        facts = {
            "done_at": row["at"],
            "by": row["who"],
            "role": row["role"],
            "from": row["address"],
            "to": row["target"],
        }
        section = Section("details", _CHANGES, each(changes), f"{len(changes)} keys of entry {row['revision']}.")
        nothing = {"details": "Nothing more was noted."}
        links = {"to": visit.url_for("/audit", target=row["target"]), "by": visit.url_for("/audit", who=row["who"])}
        context = {"nothing": nothing, "fact_links": links}
        return Page(f"{row['what'][:1].upper()}{row['what'][1:]}", "page.html", [section], facts, context)


def changes_of(details: Row) -> list[Row]:
    """What an entry tells, a row a key: a pair is a value before and after, all else was noted as it is."""
    rows: list[Row] = []
    for key, value in details.items():
        is_pair = isinstance(value, list | tuple) and len(value) == 2  # noqa: PLR2004 before and after
        before, after = value if is_pair else (None, value)
        rows.append({"key": key, "before": before, "after": after})
    return rows
