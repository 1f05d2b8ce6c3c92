"""A former owner's rows that reach a changelog after its new owner's claim: noticed, left out, and mended for good."""

from pathlib import Path

import pytest

from agents.changelog import read_rows
from agents.engine import CLAIM_KEY, ChunkApp, ChunkTable, ticks
from pipeline.errors import SendFailedError
from tests.support.chunk_worker import Broker, crash_reason, fresh_name, make_app, running, until


class Owner:
    """A worker with one table of one partition."""

    def __init__(self, name: str, broker: Broker, datadir: Path, topic: str, store: str = "rocksdb://") -> None:
        self.app: ChunkApp = make_app(name, broker.address, datadir, store=store)
        self.table: ChunkTable = self.app.chunk_table("rows", partitions=1)

        @self.app.agent(self.app.chunk_topic(topic, tick_s=0.05))
        async def read(stream):
            async for _ in stream:
                pass


async def headers_of_the_last_group(broker: Broker, changelog: str) -> list[tuple[str, bytes]]:
    return list([record.headers for record in await broker.read(changelog) if record.headers][-1])


def newest(rows: list[tuple[bytes, bytes | None]]) -> dict[bytes, bytes | None]:
    """What compaction would keep."""
    return dict(rows)


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
@pytest.mark.parametrize("loses_disk", [False, True], ids=["same-disk", "empty-disk"])
async def test_rows_of_a_former_owner_that_come_late_stop_the_new_one_which_then_mends_them(
    broker, tmp_path, store, loses_disk
):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    former = Owner(name, broker, tmp_path / "former", topic, store)
    changelog = former.table.changelog_topic_name
    async with running(former.app):
        await former.table.write(0, [[(b"kept", b"1"), (b"gone", b"1")]])
    stamp = await headers_of_the_last_group(broker, changelog)

    new = Owner(name, broker, tmp_path / "new", topic, store)
    async with running(new.app):
        await new.table.write(0, [[(b"kept", b"2"), (b"gone", None)]])
        await broker.put_group(changelog, [(b"kept", b"late"), (b"gone", b"late"), (b"never", b"late")], stamp)
        new.table.write(0, [[(b"other", b"2")]])
        reason = await crash_reason(new.app)
    assert isinstance(reason, SendFailedError)
    assert "rows of another worker" in str(reason)

    expected = {b"kept": b"2", b"other": b"2"}
    again = Owner(name, broker, tmp_path / ("again" if loses_disk else "new"), topic, store)
    async with running(again.app):
        assert dict(again.table.rows(0)) == expected
        await until(lambda: not again.table.data.late_keys(0))
    left = newest(await broker.read_rows(changelog))
    assert {key: value for key, value in left.items() if value is not None} == expected
    assert left.keys() >= {b"gone", b"never"}, "what was late has a tombstone behind it"
    assert {key: value for rows in (await read_rows(broker.address, changelog)).values() for key, value in rows} == (
        expected
    ), "commands read it as workers do"


async def test_an_owner_that_has_nothing_to_write_notices_late_rows_when_it_renews_its_claim(
    broker, tmp_path, monkeypatch
):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    former = Owner(name, broker, tmp_path / "former", topic)
    changelog = former.table.changelog_topic_name
    async with running(former.app):
        await former.table.write(0, [[(b"a", b"1")]])
    stamp = await headers_of_the_last_group(broker, changelog)

    monkeypatch.setattr(ticks, "CLAIM_RENEWAL_S", 0.2)
    new = Owner(name, broker, tmp_path / "new", topic)
    async with running(new.app):
        await until(lambda: new.table.get(0, CLAIM_KEY) != stamp[0][1])
        await broker.put_group(changelog, [(b"a", b"late")], stamp)
        assert isinstance(await crash_reason(new.app), SendFailedError)


async def test_an_owner_whose_partition_was_claimed_by_another_stops_before_it_stores_anything(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    owner = Owner(name, broker, tmp_path, topic)
    async with running(owner.app):
        await owner.table.write(0, [[(b"a", b"1")]])
        claim = (9).to_bytes(4, "big") + b"next"
        await broker.put_group(owner.table.changelog_topic_name, [(CLAIM_KEY, claim)], [("claim", claim)])
        owner.table.write(0, [[(b"a", b"2")]])
        await crash_reason(owner.app)
        assert owner.table.get(0, b"a") == b"1"


async def test_each_start_claims_anew_and_rows_outlive_it(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    claims = []
    for number in range(3):
        owner = Owner(name, broker, tmp_path, topic)
        async with running(owner.app):
            await owner.table.write(0, [[(b"%d" % number, b"x")]])
            claims.append(owner.table.get(0, CLAIM_KEY))
            assert len(list(owner.table.rows(0))) == number + 1
    assert claims == sorted(set(claims)), "each above the one before"
