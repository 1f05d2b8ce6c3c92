"""``distributary conform``: try a receiver."""

import asyncio
import secrets as randomness

import click
from yarl import URL

from pipeline.conform.compose import Composer
from pipeline.conform.forms import KINDS, Body, form_of
from pipeline.conform.report import Report
from pipeline.conform.run import Sender, conform
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard, spelled_address

LOOPBACK = ("127.0.0.0/8", "::1/128")


@click.command("conform", short_help="Try a receiver with good and bad requests.")
@click.argument("url")
@click.option("--kind", default="http", show_default=True, type=click.Choice(KINDS), help="What it receives.")
@click.option(
    "--body",
    default="array",
    show_default=True,
    type=click.Choice(["array", "envelope", "object"]),
    help="Setting of the http sink.",
)
@click.option(
    "--secret",
    envvar="CONFORM_SECRET",
    help="Sign requests with this, whsec_... for http (also: CONFORM_SECRET in the environment).",
)
@click.option(
    "--authorization",
    envvar="CONFORM_AUTHORIZATION",
    help="Value of the Authorization header (also: CONFORM_AUTHORIZATION in the environment).",
)
@click.option("--allow-http", is_flag=True, help="Take a URL that begins with http://.")
@click.option("--allow-loopback", is_flag=True, help="Send to this machine's own addresses.")
@click.option(
    "--allow-network", "networks", multiple=True, metavar="CIDR", help="Send to this private network; may be repeated."
)
@click.option(
    "--timeout",
    "timeout_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="Seconds to wait for an answer.",
)
@click.option(
    "--max-time",
    "max_s",
    default=120.0,
    show_default=True,
    type=click.FloatRange(1, 3600),
    help="Seconds after which nothing more is begun.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    url: str,
    kind: str,
    body: Body,
    secret: str | None,
    authorization: str | None,
    allow_http: bool,
    allow_loopback: bool,
    networks: tuple[str, ...],
    timeout_s: float,
    max_s: float,
    as_json: bool,
) -> None:
    """Send URL some forty requests as a worker would, and some that no worker sends, and report how it fares.

    All of them are marked `distributary-purpose: test`, and their lane is `conformance-...~test`: a receiver may verify
    and answer such events without keeping them. Exit status 1 where anything failed or could not be tried.
    """
    try:
        form = form_of(kind, body=body, secret=secret)
        guard = AddressGuard([*networks, *(LOOPBACK if allow_loopback else ())])
        origin = _origin(url, guard, allow_http=allow_http)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    composer = Composer(form, randomness.token_hex(4), authorization)
    report = asyncio.run(_tried(url, origin, guard, composer, secret, timeout_s=timeout_s, max_s=max_s))
    click.echo(report.as_json() if as_json else report.as_table())
    if not report.is_passed:
        raise SystemExit(1)


def _origin(url: str, guard: AddressGuard, *, allow_http: bool) -> str:
    """Scheme, host and port of ``url``; raises ``ValueError`` where nothing may be sent there."""
    parsed = URL(url)
    if parsed.scheme in {"grpc", "grpcs"}:
        raise ValueError(
            "only receivers of HTTP requests can be tried so, not gRPC ones: send yours a test event with "
            "`distributary doctor INTEGRATION`"
        )
    if parsed.scheme not in {"https", "http"} or not parsed.host:
        raise ValueError("give the receiver's whole URL, for example https://host.example/events")
    if parsed.user is not None or parsed.password is not None:
        raise ValueError("the URL holds credentials, which are not sent: use --authorization")
    if parsed.scheme == "http" and not allow_http:
        raise ValueError(
            "the URL is plain http://, which anyone on the way can read: use https://, or add --allow-http"
        )
    host = parsed.host.rstrip(".").lower()
    address = "127.0.0.1" if host == "localhost" else spelled_address(host)
    if address is not None and not guard.permits(address):
        option = "--allow-loopback" if AddressGuard(LOOPBACK).permits(address) else "--allow-network"
        raise ValueError(f"{host} is not public: where that is meant, add {option}")
    return str(parsed.origin())


async def _tried(
    url: str,
    origin: str,
    guard: AddressGuard,
    composer: Composer,
    secret: str | None,
    *,
    timeout_s: float,
    max_s: float,
) -> Report:
    client = HttpClient(guard)
    await client.open()
    try:
        endpoint = client.endpoint(url, timeout_s=timeout_s)
        hidden = [text for text in (secret, composer.authorization) if text]
        return await conform(composer, Sender(client, endpoint, hidden).send, origin=origin, max_s=max_s)
    finally:
        await client.close()
