"""Whether sinks could begin to deliver, asked before anything runs."""

from collections.abc import Iterable

from pipeline.errors import ConfigError
from pipeline.model.integration import Integration
from pipeline.net.client import HttpClient
from pipeline.sinks.base import SinkContext
from pipeline.sinks.registry import spec_of


async def require_ready(integrations: Iterable[Integration], client: HttpClient) -> None:
    """Open and close the sink of every integration, as a worker does: it reads the certificate files and connects to nobody.

    Integrations that are not enabled count too, since a worker delivers what they still hold. ``client`` need not be open.
    Raises ``ConfigError`` with one line for each integration whose files or URL cannot be used: ``integration ID: ...``.
    """
    context = SinkContext(client)
    problems: list[str] = []
    for integration in integrations:
        sink = spec_of(integration.kind).make(integration, context)
        try:
            await sink.open()
        except ConfigError as error:
            problems += error.problems
        else:
            await sink.close()
    if problems:
        raise ConfigError(problems)
