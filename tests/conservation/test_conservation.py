"""No event is lost, whatever is killed."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agents.topology import Names
from pipeline.local.servers import LocalServers
from tests.conservation import report
from tests.conservation.disturbances import FULL, SMALL, Disturbance, Disturbances
from tests.conservation.events_alone import one_by_one, uuids_by_number
from tests.conservation.feeder import Feeder
from tests.conservation.integrations import WITHOUT_UUID
from tests.conservation.oracle import (
    Expectation,
    Findings,
    check_dead_letters,
    check_ledger,
    check_parked,
    check_received,
)
from tests.conservation.scene import APP, PARTITIONS, TOPIC, Scene
from tests.support.whole_topic import read_topic

IS_FULL = os.environ.get("CONSERVATION") == "full"
SEED = int(os.environ.get("CONSERVATION_SEED", "1"))
POISON_SHARE = 0.002
STANDSTILL_S = 60.0
BACK_AT_WORK_S = 12.0


class Size(NamedTuple):
    """How much is sent and done."""

    events: int
    integrations: int
    disturbances: tuple[Disturbance, ...]
    impatience: float
    lasts_s: float


SIZE = Size(500_000, 50, FULL, 0.25, 330.0) if IS_FULL else Size(30_000, 10, SMALL, 0.2, 40.0)


@pytest.fixture(autouse=True)
def _quiet_client() -> Iterator[None]:
    """The feeder's client reports each connection that it cannot make, which is most of what happens here."""
    client = logging.getLogger("aiokafka")
    level = client.level
    client.setLevel(logging.CRITICAL)
    yield
    client.setLevel(level)


@pytest.fixture
def scene(tmp_path: Path, own_kafka: LocalServers) -> Iterator[Scene]:
    scene = Scene(tmp_path, own_kafka, SIZE.integrations)
    try:
        yield scene
    finally:
        scene.close()


def feed(scene: Scene, *, count: int, lasts_s: float) -> Feeder:
    feeder = Feeder(
        scene.brokers, TOPIC, PARTITIONS, seed=SEED, count=count, poison_share=POISON_SHARE, lasts_s=lasts_s
    )
    feeder.start()
    return feeder


def settle(scene: Scene, feeder: Feeder) -> tuple[Expectation, dict]:
    """Send what is left, wait until all is quiet, then read the ledger."""
    feeder.finish(300.0)
    expectation = Expectation(scene.integrations, feeder.sent)
    moved_at_s, seen = time.monotonic(), -1
    while True:
        scene.wait(2.0)
        if scene.arrivals.batches != seen:
            seen, moved_at_s = scene.arrivals.batches, time.monotonic()
            continue
        status, output = scene.run("ledger", "--json", timeout_s=120.0)
        assert status in (0, 1), f"the ledger cannot be read:\n{output}"
        ledger = json.loads(output[output.index("{") :])
        total = ledger["total"]
        is_quiet = total["matched"] >= sum(expectation.matched) and total["open"] == total["waiting"] == 0
        if is_quiet or time.monotonic() > moved_at_s + STANDSTILL_S:
            return expectation, ledger


def judge(scene: Scene, feeder: Feeder, expectation: Expectation, ledger: dict) -> tuple[Findings, list[str]]:
    names = Names(APP)
    sealed = {
        kind: [record.value for record in read_topic(scene.brokers, names.batches(kind), PARTITIONS)]
        for kind in WITHOUT_UUID
    }
    arrivals = one_by_one(scene.arrivals.all(), scene.integrations, uuids_by_number(sealed))
    findings = check_received(expectation, arrivals, scene.journal)
    problems = [
        *findings.problems,
        *check_ledger(expectation, ledger),
        *check_parked(expectation, [record.value for record in read_topic(scene.brokers, names.parked, PARTITIONS)]),
        *check_dead_letters(feeder.poison, read_topic(scene.brokers, names.dead_letters, PARTITIONS)),
        *scene.journal.faults,
    ]
    return findings, problems


@pytest.mark.slow
@pytest.mark.timeout(3600 if IS_FULL else 300)
def test_nothing_is_lost_while_workers_and_broker_are_killed(scene: Scene) -> None:
    scene.add_worker()
    feeder = feed(scene, count=SIZE.events, lasts_s=SIZE.lasts_s)
    try:
        assert scene.wait_for_delivery(60.0), f"no worker began to work:\n{scene.workers[0].process.tail()}"
        disturbances = Disturbances(scene, SEED)
        disturbances.play(SIZE.disturbances, impatience=SIZE.impatience)
        expectation, ledger = settle(scene, feeder)
    finally:
        feeder.stop()
    findings, problems = judge(scene, feeder, expectation, ledger)
    report.show(scene, feeder, expectation, findings, seed=SEED)
    assert not problems, report.failure(scene, problems)
    if IS_FULL:
        late = {
            what: times
            for what, times in report.back_at_work_s(scene).items()
            if max(times, default=0.0) > BACK_AT_WORK_S
        }
        assert not late, f"back at work later than {BACK_AT_WORK_S:g} s: {late}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_broker_that_stalls_during_commits_and_is_killed_loses_nothing(scene: Scene) -> None:
    scene.add_worker()
    feeder = feed(scene, count=20_000, lasts_s=12.0)
    try:
        assert scene.wait_for_delivery(60.0), f"no worker began to work:\n{scene.workers[0].process.tail()}"
        scene.wait(3.0)
        scene.kill_broker(stalled_s=2.0)
        scene.start_broker()
        expectation, ledger = settle(scene, feeder)
    finally:
        feeder.stop()
    findings, problems = judge(scene, feeder, expectation, ledger)
    report.show(scene, feeder, expectation, findings, seed=SEED)
    assert not problems, report.failure(scene, problems)
