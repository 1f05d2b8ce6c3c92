"""The directory of users over a real Kafka and a real Redis: found at once, never falsely unknown, deleted with proof."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import redis.asyncio as redis_client

from agents.users.lookup import UpdateTooLargeError
from pipeline.errors import UsersUnavailableError
from pipeline.integrations.audit import Actor
from pipeline.local.servers import LocalServers
from pipeline.model.placement import partition_of
from pipeline.users.model import Device, User
from pipeline.users.rows import GRAVES, LINKS, PROOFS, USERS, decode_row, proof_of
from pipeline.users.updates import Seen, encode_update
from tests.support.chunk_worker import Broker, fresh_name, until
from tests.support.users_scene import APPLICATION, PARTITIONS, UsersWorker, tracked
from tests.support.worker_process import ROOT

ADA = Actor("ada", "admin", "127.0.0.1")


@pytest.fixture
def own_redis(tmp_path):
    """A Redis for one test alone, which may kill, pause and empty it."""
    servers = LocalServers(tmp_path / "own-redis", names=["redis"])
    servers.acquire()
    yield servers
    servers.release()


async def eventually(asked, within_s=20.0):
    """Ask until there is an answer that is no error and not empty."""
    deadline_s = time.monotonic() + within_s
    while True:
        with contextlib.suppress(UsersUnavailableError):
            if found := await asked():
                return found
        assert time.monotonic() < deadline_s, "not in time"
        await asyncio.sleep(0.02)


async def complete(worker, within_s=20.0):
    """Wait until every partition's index is."""

    async def is_so():
        states = await worker.index.state(range(PARTITIONS))
        return all(state is not None for state in states)

    await eventually(is_so, within_s)


def find(worker, by, value):
    return worker.users.find(APPLICATION, by, value)


def silence(servers, signal_number):
    for pid in _pids(servers):
        os.kill(pid, signal_number)


def _pids(servers):
    port = servers.addresses.redis.rsplit(":", 1)[1].split("/")[0]
    found = subprocess.run(
        ["pgrep", "-f", f"redis-server 127.0.0.1:{port}"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


async def test_who_is_tracked_is_found_at_once_on_another_worker(kafka, redis_url, tmp_path):
    name = fresh_name("users")
    one = UsersWorker(name, kafka, redis_url, tmp_path / "1")
    other = UsersWorker(name, kafka, redis_url, tmp_path / "2")
    async with one.running(), other.running():
        await complete(one)
        for number in range(10):
            device = Device(platform="iOS", model="Phone 1")
            named = {"hwid": f"H{number}", "email": f"U{number}@x.example", "phone": f"+49 (0) {number}"}
            await one.users.track(tracked(user_id=f"u{number}", device=device, **named))
            by_email = await find(other, "email", f"u{number}@X.example")
            by_hwid = await find(other, "hwid", f"H{number}")
            by_phone = await find(other, "phone", f"+490{number}")
            by_id = await find(other, "user_id", f"u{number}")
            assert by_email == by_hwid == by_phone == by_id
            assert by_id == (f"u{number}", f"u{number}", f"H{number}", "iOS", f"u{number}@x.example")
        assert await find(other, "user_id", "nobody") is None
        assert await find(other, "email", "") is None

        async def is_stored():
            found = {**one.rows(USERS), **other.rows(USERS)}
            return len(found) == 10

        await eventually(is_stored)
        assert one.rows(USERS)
        assert other.rows(USERS)
        assert (await find(other, "hwid", "H7")).platform == "iOS"


async def test_what_is_told_of_a_known_device_alone_is_about_its_user(kafka, redis_url, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, redis_url, tmp_path).running() as worker:
        await complete(worker)
        await worker.users.track(tracked(user_id="u1", hwid="H1"))
        assert await worker.users.track(tracked(hwid="H1", email="a@x.example")) == "u1"
        assert (await find(worker, "email", "a@x.example")).user_id == "u1"
        await until(lambda: b"a@x.example" in b"".join(worker.rows(USERS).values()))
        assert len(worker.rows(USERS)) == 1


async def test_more_than_a_record_may_hold_is_refused_and_the_worker_goes_on(kafka, redis_url, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, redis_url, tmp_path).running() as worker:
        await complete(worker)
        with pytest.raises(UpdateTooLargeError):
            await worker.users.track(tracked(user_id="u1", attributes={str(n): "x" * 4096 for n in range(4096)}))
        await worker.users.track(tracked(user_id="u1"))
        assert (await find(worker, "user_id", "u1")).user_id == "u1"


async def test_a_device_that_moves_is_found_with_its_new_user(kafka, redis_url, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, redis_url, tmp_path).running() as worker:
        await complete(worker)
        await worker.users.track(tracked(user_id="u1", hwid="H1", device=Device(platform="iOS")))
        await worker.users.track(tracked(user_id="u2", hwid="H1"))
        assert (await find(worker, "hwid", "H1")).user_id == "u2"

        def has_moved():
            found = {key: decode_row(User, value) for key, value in worker.rows(USERS).items()}
            devices = {user.key: list(user.devices) for user in found.values()}
            return devices == {"u1": [], "u2": ["H1"]}

        await until(has_moved)


async def test_what_events_name_is_found_soon(kafka, redis_url, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, redis_url, tmp_path).running() as worker:
        await complete(worker)
        seen = Seen(application=APPLICATION, at_us=10**15, user_id="u1", hwid="H1", platform="Android")
        await asyncio.gather(*worker.users.learn([seen]))
        found = await eventually(lambda: find(worker, "hwid", "H1"))
        assert (found.user_id, found.platform) == ("u1", "Android")


async def test_a_user_is_removed_everywhere_with_a_proof(kafka, redis_url, tmp_path):
    name = fresh_name("users")
    async with UsersWorker(name, kafka, redis_url, tmp_path).running() as worker, Broker(kafka) as broker:
        await complete(worker)
        named = {"hwid": "H-secret", "email": "secret@x.example", "phone": "+4915112345"}
        await worker.users.track(tracked(user_id="u-secret", attributes={"City": "Bonn"}, **named))
        await until(lambda: len(worker.rows(LINKS)) == 3)

        deletion = await worker.users.delete(APPLICATION, "u-secret", ADA)
        for by, value in {"user_id": "u-secret", **named}.items():
            assert await find(worker, by, value) is None
        await until(lambda: worker.audit.entries)
        [entry] = worker.audit.entries
        assert (entry.who, entry.what, entry.details["request"]) == ("ada", "user deleted", deletion.request_id)
        assert entry.details["known"] is True
        assert sorted(entry.details["identifiers"]) == sorted(
            proof_of(deletion.request_id, APPLICATION, by, value)
            for by, value in {"user_id": "u-secret", **named}.items()
        )
        assert "secret" not in json.dumps(entry.details)
        assert not worker.rows(USERS)
        assert not worker.rows(LINKS)

        last = {}
        for partition in range(PARTITIONS):
            last |= dict(await broker.read_rows(f"{name}-users-changelog", partition))
        kept = {key: value for key, value in last.items() if value is not None and not key.startswith((GRAVES, PROOFS))}
        assert not [key for key in kept if b"secret" in key + kept[key]]
        assert {key[:2] for key in last if last[key] is None} >= {LINKS, USERS}

        client = redis_client.from_url(redis_url)
        for partition in range(PARTITIONS):
            held = await client.hgetall(f"{{{name}}}:users:{partition}")
            assert not [value for value in held.values() if b"secret" in value]
        await client.aclose()


async def test_a_user_nobody_knows_is_deleted_with_a_proof_that_says_so(kafka, redis_url, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, redis_url, tmp_path).running() as worker:
        await complete(worker)
        await worker.users.delete(APPLICATION, "nobody", ADA)
        assert await worker.users.delete(APPLICATION, "no@x.example", ADA, by="email") is None
        await until(lambda: worker.audit.entries)
        assert worker.audit.entries[0].details["known"] is False


async def test_where_redis_is_emptied_nobody_is_said_not_to_exist_before_it_is_full_again(kafka, own_redis, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, own_redis.addresses.redis, tmp_path).running() as worker:
        await complete(worker)
        await worker.users.track(tracked(user_id="u1", hwid="H1"))
        await until(lambda: len(worker.rows(LINKS)) == 1)

        client = redis_client.from_url(own_redis.addresses.redis)
        await client.flushall()
        with pytest.raises(UsersUnavailableError):
            await find(worker, "hwid", "H1")
        assert (await eventually(lambda: find(worker, "hwid", "H1"))).user_id == "u1"
        await complete(worker)
        assert await find(worker, "user_id", "nobody") is None
        await client.aclose()


async def test_who_is_tracked_while_the_index_is_empty_is_found(kafka, own_redis, tmp_path):
    async with UsersWorker(fresh_name("users"), kafka, own_redis.addresses.redis, tmp_path).running() as worker:
        await complete(worker)
        client = redis_client.from_url(own_redis.addresses.redis)
        for number in range(10):
            await client.flushall()
            await worker.users.track(tracked(user_id=f"u{number}", hwid=f"H{number}"))
            assert (await find(worker, "hwid", f"H{number}")).user_id == f"u{number}"
        await complete(worker)
        for number in range(10):
            assert (await find(worker, "hwid", f"H{number}")).user_id == f"u{number}"
        await client.aclose()


async def test_a_redis_that_is_slow_is_given_up_on_in_time_and_comes_back_by_itself(kafka, own_redis, tmp_path):
    worker = UsersWorker(fresh_name("users"), kafka, own_redis.addresses.redis, tmp_path)
    async with worker.running():
        await complete(worker)
        await worker.users.track(tracked(user_id="u1"))
        silence(own_redis, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            answers = await asyncio.gather(*(find(worker, "user_id", "u1") for _ in range(200)), return_exceptions=True)
            assert all(isinstance(each, UsersUnavailableError) for each in answers)
            assert time.monotonic() - began_s < 1.0
            with pytest.raises(UsersUnavailableError):
                await worker.users.track(tracked(user_id="u2"))
        finally:
            silence(own_redis, signal.SIGCONT)
        assert await eventually(lambda: find(worker, "user_id", "u1"))
        assert await eventually(lambda: find(worker, "user_id", "u2"))


async def test_a_redis_that_was_killed_and_started_again_is_not_believed_before_it_is_built(kafka, own_redis, tmp_path):
    worker = UsersWorker(fresh_name("users"), kafka, own_redis.addresses.redis, tmp_path)
    async with worker.running():
        await complete(worker)
        await worker.users.track(tracked(user_id="u1", hwid="H1"))
        await until(lambda: len(worker.rows(LINKS)) == 1)
        runs_before = await worker.index.state(range(PARTITIONS))
        assert None not in runs_before
        for pid in _pids(own_redis):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(UsersUnavailableError):
            await find(worker, "user_id", "u1")
        await asyncio.to_thread(own_redis.acquire)
        assert (await eventually(lambda: find(worker, "hwid", "H1"), 60)).user_id == "u1"
        await complete(worker)
        assert worker.keeper.built_s


def start_process(**told):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.users_scene", json.dumps(told)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


async def test_what_a_worker_stored_and_did_not_show_before_it_was_killed_is_shown_by_the_next(
    kafka, redis_url, tmp_path
):
    name = fresh_name("users")
    told = {"name": name, "address": kafka, "redis_url": redis_url, "datadir": str(tmp_path / "1")}
    first = UsersWorker(name, kafka, redis_url, tmp_path / "0")
    async with first.running():
        await complete(first)
    dying = start_process(**told, stops_before_index="yes")
    other = None
    try:
        assert await asyncio.to_thread(dying.stdout.readline) == b"ready\n"
        async with Broker(kafka) as broker:
            seen = Seen(application=APPLICATION, at_us=10**15, user_id="u1", hwid="H1")
            await broker.put(f"{name}-user-updates", [encode_update(seen)], partition_of(seen.place, PARTITIONS))

            async def is_stored():
                keys = set()
                for partition in range(PARTITIONS):
                    keys |= {key[:2] for key, _ in await broker.read_rows(f"{name}-users-changelog", partition)}
                return {USERS, LINKS} <= keys

            await eventually(is_stored)
        dying.kill()
        dying.wait(10)
        other = UsersWorker(name, kafka, redis_url, tmp_path / "2")
        async with other.running():
            assert (await eventually(lambda: find(other, "hwid", "H1"))).user_id == "u1"
    finally:
        dying.kill()
        dying.wait(10)


@pytest.mark.parametrize("users", [int(os.environ.get("DISTRIBUTARY_USERS", "2000"))])
async def test_the_index_of_many_users_is_built_in_seconds(kafka, own_redis, tmp_path, users):
    worker = UsersWorker(
        fresh_name("users"),
        kafka,
        own_redis.addresses.redis,
        tmp_path,
        timeout_s=2.0,
        store="rocksdb://",
        broker_session_timeout=20.0,
    )
    async with worker.running():
        await complete(worker)
        seen = [
            Seen(application=APPLICATION, at_us=10**15, user_id=f"u{number}", hwid=f"H{number}")
            for number in range(users)
        ]
        for start in range(0, users, 5000):
            await asyncio.gather(*worker.users.learn(seen[start : start + 5000]))
        await until(lambda: sum(worker.flow.table.estimate(each)[0] for each in range(PARTITIONS)) > 1.9 * users, 120)
        await eventually(lambda: find(worker, "hwid", f"H{users - 1}"), 60)
        client = redis_client.from_url(own_redis.addresses.redis)
        await client.flushall()
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        with pytest.raises(UsersUnavailableError):
            await find(worker, "user_id", "nobody")
        await complete(worker, 120)
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        sys.stderr.write(f"\n{users} users: {took_s:.2f} s, of which {cpu_s:.2f} s of this process's CPU\n")
        assert cpu_s < 2 + users / 10_000
        found = [await find(worker, "hwid", f"H{number}") for number in range(0, users, max(1, users // 50))]
        assert all(found)
        await client.aclose()
