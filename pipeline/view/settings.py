"""The section ``view`` of ``faust.yml``: where the web view is served, to whom, and what they see."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)

from pipeline.model.hosts import Host, Networks, in_url, parts_of
from pipeline.model.moments import format_time, parse_fixed_time
from pipeline.model.section import InWords, Section, mistakes
from pipeline.view.columns import Personal
from pipeline.view.index.settings import Keep
from pipeline.view.roles import Role
from pipeline.view.sql.settings import SqlSettings

SHORTEST_TOKEN: Final = 16
LONGEST_NAME: Final = 100
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DATE_CHARACTERS: Final = len("2026-01-31")
_HEADER_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

ROLE_WORDS: Final = InWords("`viewer` or `operator` or `admin`")
_ROLES_WORDS: Final = InWords("list of `viewer`, `operator`, `admin`")
_MASKS_WORDS: Final = InWords("list of " + ", ".join(f"`{each}`" for each in Personal))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _header(text: str) -> str:
    if not text or not set(text.lower()) <= _HEADER_CHARACTERS:
        raise ValueError("is not the name of a header; write for example X-Forwarded-User")
    return text


def _person_name(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"must be 1 to {LONGEST_NAME} printable characters")
    return text


def _token(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if len(value) < SHORTEST_TOKEN:
        raise ValueError(
            f"is too short to be safe: at least {SHORTEST_TOKEN} characters, "
            "for example from python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces, since it is sent in a header")
    return secret


def _expires_at(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2027-01-31 or 2027-01-31T12:00Z")
    at = parse_fixed_time(value)
    if len(value.strip()) == _DATE_CHARACTERS:
        at = (datetime.fromtimestamp(at, UTC) + timedelta(days=1)).timestamp()
    return at


def _local_path(text: str) -> str:
    if not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable() or " " in text:
        raise ValueError("must be a path of the view that begins with one /, for example /attempts?status__gt=499")
    return text


def _prefix(text: str) -> str:
    stripped = text.rstrip("/")
    if stripped and (_local_path(stripped) != stripped or not set("?#;\"'<>\\").isdisjoint(stripped)):
        raise ValueError("must be a path such as /stream")
    return stripped


Roles = Annotated[tuple[Role, ...], BeforeValidator(parts_of), _ROLES_WORDS]
Masks = Annotated[tuple[Personal, ...], BeforeValidator(parts_of), _MASKS_WORDS]


class Token(Section):
    """One token, for a person or a program."""

    name: Annotated[str, AfterValidator(_person_name)] = Field(
        description="Whose it is: shown in the view and in the audit log. One name may have several tokens."
    )
    role: Annotated[Role, ROLE_WORDS] = Field(
        description="`viewer` reads, `operator` also replays and resumes, `admin` also changes integrations."
    )
    token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        description="The token itself, at least 16 characters; take it from the environment as `${ANA_TOKEN}`. Never shown."
    )
    expires_at: (
        Annotated[
            float,
            BeforeValidator(_expires_at),
            PlainSerializer(format_time, when_used="json"),
            InWords("time such as 2027-01-31 or 2027-01-31T12:00Z"),
        ]
        | None
    ) = Field(
        None,
        alias="expires",
        description="When it stops to be accepted, in UTC; a date is good to its end. Absent: never.",
    )


class Proxy(Section):
    """A reverse proxy that signs people in, or only stands in front."""

    networks: Networks = Field(
        description="Where the proxy connects from, for example `[10.1.2.3/32]`. Its headers count from there alone; "
        "whoever in these networks reaches the port can pass for anybody, so keep them narrow."
    )
    user_header: Annotated[str, AfterValidator(_header)] | None = Field(
        None,
        description="The header that holds the name of whoever is signed in at the proxy, for example `X-Forwarded-User`. "
        "The proxy must remove it from what comes in. Absent: the proxy signs nobody in, `tokens` do.",
    )
    role_header: Annotated[str, AfterValidator(_header)] | None = Field(
        None, description="The header that holds the role: viewer, operator or admin."
    )
    groups_header: Annotated[str, AfterValidator(_header)] | None = Field(
        None,
        description="The header that holds the person's groups, with commas, for example `X-Forwarded-Groups`.",
    )
    groups: Annotated[Mapping[str, Role], InWords("section: a group and its role a line")] = Field(
        {},
        description="The role of each group; the highest counts.",
    )
    default_role: Annotated[Role, ROLE_WORDS] | None = Field(
        None, description="The role of those whom no header gives one. Absent: they are refused."
    )

    @model_validator(mode="after")
    def _check_together(self) -> "Proxy":
        found: dict[tuple[str | int, ...], str] = {}
        if not self.networks:
            found["networks",] = "must name at least one network"
        if self.user_header is None:
            for key in ("role_header", "groups_header", "groups", "default_role"):
                if getattr(self, key):
                    found[key,] = "is of no use without user_header; add that or leave this out"
        elif self.role_header is None and self.groups_header is None and self.default_role is None:
            found["user_header",] = "gives people no role; add role_header, groups_header with groups, or default_role"
        if bool(self.groups_header) != bool(self.groups):
            found["groups",] = "groups_header and groups go together; give both or neither"
        if found:
            raise mistakes(found)
        return self


class Mask(Section):
    """What each role sees only as a tag; a tag stands for one value, so that equal ones are seen to be equal."""

    viewer: Masks = Field(
        (Personal.EMAIL, Personal.PHONE, Personal.HWID, Personal.USER_ID, Personal.PAYLOAD),
        description="What viewers do not see. `payload` is all of an event that is not known to be harmless.",
    )
    operator: Masks = Field((Personal.EMAIL, Personal.PHONE), description="What operators do not see.")
    admin: Masks = Field((), description="What admins do not see.")


class SavedView(Section):
    """A link that everybody is offered."""

    title: Annotated[str, AfterValidator(_person_name)] = Field(description="What the link says.")
    path: Annotated[str, AfterValidator(_local_path)] = Field(
        description="Where it leads: what the address bar shows after the host, for example `/attempts?status__gt=499`."
    )


class ViewSettings(Section):
    """The web view. Without tokens and proxy it is served on loopback alone, and everybody is admin."""

    host: Host = Field(
        "127.0.0.1",
        description="The address that the view, `/metrics` and `/health` listen on; `--web-bind` wins, the port is "
        "`--web-port`. Anything but loopback needs `tokens` or `proxy`.",
    )
    advertised_host: Host | None = Field(
        None,
        description="Where the other workers reach this one; `--web-host` wins. Absent: `host`, or the machine's name where "
        "that stands for all addresses.",
    )
    names: Annotated[tuple[Host, ...], BeforeValidator(parts_of), InWords("list of text")] = Field(
        (),
        description="Under which names browsers come, for example `[stream.example]`. Where there are some, or on loopback, a "
        "request for any other host is refused, so that no foreign page reaches the view through a name of its own.",
    )
    path_prefix: Annotated[str, AfterValidator(_prefix)] | None = Field(
        None,
        description="The path below which a reverse proxy offers the view, for example `/stream`. The proxy takes it "
        "off before it passes a request on.",
    )
    tokens: tuple[Token, ...] = Field((), description="Who may sign in.")
    proxy: Proxy | None = Field(None, description="A reverse proxy in front of the view.")
    secret: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None,
        description="What workers sign with among themselves, and sessions: at least 16 characters, the same for all workers. "
        "Needed with `proxy.user_header` where there are no `tokens`, which otherwise serve for that. Never shown.",
    )
    mask: Mask = Field(Mask(), description="Which personal data each role sees only as a tag.")
    exports: Roles = Field(
        (Role.VIEWER, Role.OPERATOR, Role.ADMIN),
        description="Who may take whole tables away, as CSV or with `size=all`.",
    )
    keep: Keep = Field(Keep(), description="How much of the past the view remembers.")
    views: tuple[SavedView, ...] = Field((), description="Links that the view offers to everybody.")
    sql: SqlSettings = Field(SqlSettings(), description="The page `/sql`: how much a query may use.")

    @field_validator("tokens")
    @classmethod
    def _check_tokens(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        seen: dict[str, int] = {}
        for index, each in enumerate(tokens):
            value = each.token.get_secret_value()
            if value in seen:
                raise mistakes(
                    {(index, "token"): f"is the same as that of entry {seen[value] + 1}; each needs one of its own"}
                )
            seen[value] = index
        return tokens

    @model_validator(mode="after")
    def _check_host(self) -> "ViewSettings":
        refusal = self.refusal(self.host)
        if refusal:
            raise mistakes({("host",): refusal})
        if self.needs_sign_in and not self.shared_secrets():
            raise mistakes({("secret",): "is missing; without tokens, workers need it to know each other"})
        return self

    @property
    def needs_sign_in(self) -> bool:
        """Whether there is a way to tell people apart; otherwise everybody is admin."""
        return bool(self.tokens) or (self.proxy is not None and self.proxy.user_header is not None)

    @property
    def prefix(self) -> str:
        """What a proxy puts before every path; empty where it is nothing."""
        return self.path_prefix or ""

    def shared_secrets(self) -> tuple[str, ...]:
        """What all workers know and nobody else; empty where nobody has to sign in."""
        own = () if self.secret is None else (self.secret.get_secret_value(),)
        return (*own, *sorted(each.token.get_secret_value() for each in self.tokens))

    def advertised(self, bind: str, machine: str) -> str:
        """Where other workers reach one that listens on ``bind`` of the machine with that name."""
        if self.advertised_host is not None:
            return in_url(self.advertised_host)
        return machine if bind in {"0.0.0.0", "::", ""} else in_url(bind)  # noqa: S104 compared with, not listened on

    def refusal(self, bind: str) -> str:
        """Why the view may not listen on ``bind``; empty where it may."""
        if is_loopback(bind) or self.needs_sign_in:
            return ""
        return (
            f"{bind} can be reached from other machines, and nobody would have to sign in; "
            "add view.tokens or view.proxy with user_header to faust.yml, or listen on 127.0.0.1"
        )

    def masks(self, role: Role) -> frozenset[Personal]:
        """What somebody with ``role`` sees only as a tag."""
        masks: tuple[Personal, ...] = getattr(self.mask, role.value)
        return frozenset(masks)
