"""Webhooks change while workers run, on real Kafka: on all workers within two seconds, and they outlive the workers."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConflictError, InvalidChangeError, NotFoundError
from pipeline.inbound.secrets import authorized, header_value
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change
from pipeline.integrations.webhooks import WebhookChange
from tests.support.chunk_worker import Broker, fresh_name
from tests.support.live_workers import PARTITIONS, Workers

ANA = Actor("ana", "admin", "127.0.0.1")
WITHIN_S = 2.0
pytestmark = pytest.mark.slow


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


def orders(name: str = "orders", **keys: Any) -> dict[str, Any]:
    identify = {"by": "user_id", "field": "user"}
    return {"id": name, "name": "Orders", "event": "Paid", "application": "A", "identify": identify, **keys}


def story() -> list[WebhookChange]:
    return [
        WebhookChange("create", "orders", orders()),
        WebhookChange("create", "refunds", orders("refunds")),
        WebhookChange("replace", "orders", orders(event="Ordered", sample='{"user": "' + "x" * 60_000 + '"}')),
        WebhookChange("disable", "refunds"),
        WebhookChange("rotate", "orders", valid_for_s=3600.0),
        WebhookChange("enable", "refunds"),
        WebhookChange("rotate", "refunds", valid_for_s=0.0),
        WebhookChange("delete", "orders"),
        WebhookChange("create", "orders", orders()),
        WebhookChange("rotate", "orders"),
    ]


async def test_a_change_through_either_of_two_workers_is_in_force_on_both_within_two_seconds(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("hooks"))
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one"), workers.worker("two"):
        await workers.share()
        told: list[int] = []
        for app in workers.running:
            app.integrations.on_change(lambda _before, after: told.append(after.revision))
        for number, change in enumerate(story()):
            began_s = time.monotonic()
            stored = await workers.running[number % 2].integrations.apply_webhook(change, ANA)
            await workers.everywhere(stored.revision)
            assert time.monotonic() - began_s < WITHIN_S, change.action
            for app in workers.running:
                entry = app.integrations.snapshot.webhooks.get(change.id)
                assert (entry is None) == (change.action == "delete")
                assert entry is None or entry.stored == stored
        assert sorted(told) == sorted([*range(1, 11)] * 2)
        for app in workers.running:
            made = app.integrations.audit()[1]
            assert (made.what, made.target, made.who, made.revision) == ("webhook created", "orders", "ana", 9)
            webhook = app.integrations.snapshot.webhooks["orders"].settings
            assert webhook.previous_secret is not None
            for secret in (webhook.secret, webhook.previous_secret):
                assert authorized(header_value(secret.get_secret_value()), webhook, time.time())
            assert not app.crashed


async def test_a_worker_that_comes_later_knows_the_webhooks_and_takes_over_the_lead(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("hooks"))
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one") as one:
        await workers.share()
        made = await one.integrations.apply_webhook(WebhookChange("create", "orders", orders()), ANA)
        email = {"id": "orders", "kind": "email", "url": "https://mail.example/"}
        await one.integrations.apply(Change("create", "orders", email), ANA)
    async with workers.worker("two") as two:
        await workers.share()
        snapshot = two.integrations.snapshot
        assert snapshot.webhooks["orders"].stored == made
        assert [entry.id for entry in snapshot] == ["orders"]
        rotated = await two.integrations.apply_webhook(WebhookChange("rotate", "orders", None, made.revision), ANA)
        assert (rotated.revision, rotated.settings["previous_secret"]) == (3, made.settings["secret"])
        with pytest.raises(ConflictError, match=r"revision 3, not 1"):
            await two.integrations.apply_webhook(WebhookChange("disable", "orders", None, made.revision), ANA)
        wrong = orders(identify={"by": "email", "field": "a["})
        with pytest.raises(InvalidChangeError, match=r"identify\.field"):
            await two.integrations.apply_webhook(WebhookChange("replace", "orders", wrong), ANA)
        with pytest.raises(NotFoundError, match="there is no webhook refunds"):
            await two.integrations.apply_webhook(WebhookChange("delete", "refunds"), ANA)
        await two.integrations.apply_webhook(WebhookChange("delete", "orders"), ANA)
        assert not two.integrations.snapshot.webhooks
        assert "orders" in two.integrations.snapshot
