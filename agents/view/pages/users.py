"""``/users``: the directory of users, found by any identifier; one of them, and its deletion."""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from agents.view.gather import Gathered
from agents.view.inbound_parts import INBOUND_EXAMPLE, InboundParts, off_page
from agents.view.integration_acts import actor_of
from agents.view.pages.browsing import each, with_facets
from agents.view.server import View, Visit
from agents.view.visit import Done
from pipeline.errors import ForbiddenError, NotFoundError, ViewQueryError
from pipeline.inbound.settings import IDENTIFY_LABELS
from pipeline.integrations.audit import Actor
from pipeline.users.identifiers import By, is_anonymous, key_of_user, normalized
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.coverage import EVERYTHING, Coverage
from pipeline.view.mask import mask_value
from pipeline.view.page import Page, Section
from pipeline.view.query import Operator, Query
from pipeline.view.roles import Role

ALL: Final = "/users"
ONE: Final = "/users/{application}/{key}"
FACETS: Final = ("application",)
SHOWN: Final = 20
MOST_APPLICATIONS: Final = 200

_DEVICES: Final[Columns] = (
    Column("hwid", "HWID", Kind.CODE, "The device, browser or address.", is_sortable=False, personal=Personal.HWID),
    Column("platform", "Platform", Kind.STATE, is_sortable=False),
    Column("model", "Model", is_sortable=False),
    Column("os_version", "System", is_sortable=False),
    Column("app_version", "App version", is_sortable=False),
    Column("language", "Language", is_sortable=False),
    Column("country", "Country", is_sortable=False),
    Column("city", "City", is_sortable=False, personal=Personal.PAYLOAD),
    Column("timezone", "Time zone", is_sortable=False),
    Column("seen_at", "Last seen", Kind.TIME, "When it was seen last with this user.", is_sortable=False),
    Column("token", "Push token", Kind.CODE, is_sortable=False, is_wide=True, personal=Personal.HWID),
    Column("latitude", "Latitude", Kind.NUMBER, is_sortable=False, is_wide=True, personal=Personal.PAYLOAD),
    Column("longitude", "Longitude", Kind.NUMBER, is_sortable=False, is_wide=True, personal=Personal.PAYLOAD),
    Column("user_agent", "User agent", is_sortable=False, is_wide=True, personal=Personal.PAYLOAD),
)
_TAGS: Final[Columns] = (
    Column("tag", "Tag", Kind.CODE, "The attribute's name.", is_sortable=False),
    Column("value", "Value", Kind.JSON, is_sortable=False, personal=Personal.PAYLOAD),
    Column("is_known", "Known", Kind.FLAG, "Whether users.tags names it; others are kept apart.", is_sortable=False),
)
_OFF: Final = "There is no directory of users: it comes with the section inbound of faust.yml."
_NOBODY: Final = "Nobody is known yet. Users come from Segment's calls, and from events that carry a user id beside a device or an address."


class Directory(Protocol):
    """What removes users: ``agents.users.lookup.Users``."""

    async def delete_key(self, application: str, key: str, actor: Actor) -> object:
        """Remove a user everywhere; returns once it is accepted, with its proof to follow in the audit log."""
        ...


class UserPages:
    """The pages. ``parts`` is absent where there is no directory."""

    def __init__(self, parts: InboundParts | None, directory: Directory | None) -> None:
        self._parts = parts
        self._directory = directory

    def register(self, view: View) -> None:
        """Put them on ``view``."""
        view.page(ALL, self.search, nav="Users")
        if self._parts is not None:
            view.page(ONE, self.one)
            view.action(f"{ONE}/delete", self.delete, Role.ADMIN)

    @property
    def _ready(self) -> InboundParts:
        assert self._parts is not None
        return self._parts

    async def search(self, visit: Visit) -> Page:
        """Search users; `by` and `value`, with `application` where it is known, find whom an identifier names."""
        if self._parts is None:
            return off_page("Users", _OFF, INBOUND_EXAMPLE)
        by, value = visit.parameter("by"), visit.parameter("value").strip()
        context: dict[str, Any] = {
            "kinds": [*IDENTIFY_LABELS.items()],
            "by": by,
            "value": value,
            "applications": self._applications(),
            "nothing": {"users": _NOBODY},
        }
        if not value:
            section = await self._parts.gather.section("users", "users", with_facets(visit, FACETS), what="users")
            return Page("Users", "users.html", [section], context=context)
        found, coverage = await self._named(visit, by or By.USER_ID, value)
        columns = self._parts.gather.source("users").columns
        kind = IDENTIFY_LABELS.get(by or "user_id", by)  # type: ignore[call-overload]
        told = f"{len(found)} user{'' if len(found) == 1 else 's'} with this {kind}"
        context["nothing"] = {"users": f"No user of {_listed(self._asked(visit))} has this {kind}."}
        section = Section("users", columns, each(found), told, coverage=coverage)
        return Page("Users", "users.html", [section], context=context)

    async def one(self, visit: Visit) -> Page:
        """One user: identifiers, devices, tags, and what came in for them."""
        parts, application, key = self._ready, visit.match["application"], visit.match["key"]
        row, found = await self._row(visit, application, key)
        requests = None if visit.masks else await parts.gather.section(  # by keys that are masked nothing is found
            "requests", "inbound_requests", visit, what="requests", reads_url=False, limit=SHOWN,
            application=application, user_key=key,
        )  # fmt: skip
        devices = row["devices"] or []
        tags = [*_tags(row)]
        sections = [
            Section(
                "devices",
                _DEVICES,
                each(devices),
                f"{len(devices)} devices, the one seen last first.",
                coverage=found.coverage,
            ),
            Section(
                "tags",
                _TAGS,
                each(tags),
                f"{row['tag_count']} known tags, {row['other_tag_count']} attributes kept apart.",
            ),
            *([] if requests is None else [requests]),
        ]
        facts = {
            "User ID": row["user_id"],
            "email": row["email"],
            "phone": row["phone"],
            "application": application,
            "updated_at": row["updated_at"],
            "since_at": row["created_at"],
        }
        context = {
            "is_anonymous": row["is_anonymous"],
            "acts": self._buttons(visit, row),
            "events_url": visit.url_for("/events", **_wanted(row)) if _wanted(row) and not visit.masks else "",
            "nothing": {
                "devices": "No device is known.",
                "tags": "Nothing more is known of this user.",
                "requests": "No webhook was received for this user, or it is longer ago than the view remembers.",
            },
        }
        return Page(str(row["user_id"] or row["key"]), "user.html", sections, facts, context)

    async def delete(self, visit: Visit) -> Done:
        """Remove a user everywhere, with a proof in the audit log."""
        assert self._directory is not None
        application, key = visit.match["application"], visit.match["key"]
        if visit.masks:
            raise ForbiddenError("users are masked for you, so they cannot be named; ask somebody who sees them")
        await self._row(visit, application, key)
        await self._directory.delete_key(application, key, actor_of(visit))
        return Done("The user is being deleted; the audit log has the proof when it is done", visit.url_for(ALL))

    # finding

    async def _row(self, visit: Visit, application: str, key: str) -> tuple[Row, Gathered]:
        query = Query(sort="updated_at", is_descending=True, key="id", limit=1)
        query = query.where("application", application).where("key", key)
        found = await self._ready.gather.ask("users", query, visit.masks)
        rows = [row async for row in found.rows]
        if not rows:
            missing = found.coverage.sentence()
            raise NotFoundError("no such user is known" + (f" ({missing})" if missing else ""))
        return rows[0], found

    async def _named(self, visit: Visit, by: str, value: str) -> tuple[list[Row], Coverage]:
        """The users whom an identifier names, one an application at most."""
        if by not in set(By):
            raise ViewQueryError(f"by: {by[:40]!r} is none of {', '.join(By)}")
        try:
            wanted = normalized(By(by), value)
        except ValueError as error:
            raise ViewQueryError(str(error)) from None
        applications = self._asked(visit)
        if By(by) is By.USER_ID:
            places = [(application, key_of_user(wanted)) for application in applications]
        else:
            query = Query(sort="id", key="id", limit=MOST_APPLICATIONS).where("by", by).where("value", wanted)
            links = await self._ready.gather.ask("user_links", query.where("application", applications, Operator.IN))
            places = [(row["application"], _shown_key(row["key"], visit)) async for row in links.rows]
            if not places:
                return [], links.coverage
        query = Query(sort="updated_at", is_descending=True, key="id", limit=MOST_APPLICATIONS)
        query = query.where("application", tuple({place[0] for place in places}), Operator.IN)
        query = query.where("key", tuple({place[1] for place in places}), Operator.IN)
        found = await self._ready.gather.ask("users", query, visit.masks)
        return [row async for row in found.rows], found.coverage if places else EVERYTHING

    def _asked(self, visit: Visit) -> list[str]:
        named = visit.parameter("application").strip()
        return [named] if named else self._applications()

    def _applications(self) -> list[str]:
        """Those that anything here names."""
        settings, snapshot = self._ready.settings, self._ready.acts.snapshot
        found = {entry.settings.application for entry in snapshot.webhooks.values()}
        if settings.segment_destination is not None:
            found.update(settings.segment_destination.applications)
        for integration in snapshot.integrations:
            found.update(integration.applications)
        return sorted(found)[:MOST_APPLICATIONS]

    def _buttons(self, visit: Visit, row: Row) -> list[dict[str, Any]]:
        if self._directory is None or visit.masks or not visit.person.role.includes(Role.ADMIN):
            return []
        url = visit.url_for(f"{ONE}/delete", application=row["application"], key=row["key"])
        question = (
            f"Delete {row['key'][:80]} with all identifiers, {row['device_count']} devices and all tags? It cannot be undone. "
            "The audit log keeps a proof without the identifiers."
        )
        return [{"id": "act-delete", "url": url, "label": "Delete", "question": question, "tone": "bad"}]


def _shown_key(key: str, visit: Visit) -> str:
    """A key as rows have it for whoever visits: that of an anonymous user is an identifier of any kind."""
    return str(mask_value(Personal.USER_ID, key)) if visit.masks and is_anonymous(key) else key


def _wanted(row: Row) -> dict[str, str]:
    """The search for the events of a user."""
    if row["user_id"]:
        return {"user_id": row["user_id"]}
    return {"hwid": row["hwid"]} if row["hwid"] else {}


def _tags(row: Row) -> Iterable[Row]:
    for name, is_known in (("tags", True), ("other_tags", False)):
        held = row[name]
        if isinstance(held, str):  # masked, as a whole
            yield {"tag": "", "value": held, "is_known": is_known}
        else:
            yield from ({"tag": tag, "value": value, "is_known": is_known} for tag, value in (held or {}).items())


def _listed(applications: list[str]) -> str:
    return ", ".join(applications[:10]) or "any application that is known here"
