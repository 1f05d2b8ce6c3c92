"""The inbound stage against a plain replay: random requests, repetitions, sweeps, and crashes between any two writes."""

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest
from pipeline.inbound.rows import (
    PROGRESS_KEY,
    RowGroup,
    counts_key,
    decode_counts,
    decode_subject,
    slot_of,
    subject_key,
)
from pipeline.inbound.stage import KEY_KEPT_S, InboundStage, InboundWrites
from pipeline.inbound.tail import TailEvent, uuid_in

WEBHOOKS = ("orders", "leads")
SUBJECTS = {*WEBHOOKS, "segment:APP"}
HOUR_S = 3600.0
ALL = 10**6
SOME = st.sampled_from([0, 1, 1, 2, 3, ALL, ALL])
KEYS = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=4)
FAILURES = st.sampled_from([Outcome.AUTH_REJECTED, Outcome.AUTH_REJECTED, Outcome.USER_NOT_FOUND, Outcome.BUSY])


@dataclass
class Take:
    """One take under way, as of ``position`` in the log of requests."""

    writes: InboundWrites
    position: int
    events: deque[tuple[bytes | None, bytes]]
    groups: deque[RowGroup]


@dataclass
class Account:
    """What a subject is to have, counted request by request."""

    received: int = 0
    succeeded: int = 0
    events: int = 0
    rejected_in_a_row: int = 0
    is_told: bool = False
    tellings: int = 0


class InboundMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)
        self.now_s = 1_000_000.0
        self.log: list[InboundRequest] = []
        self.topic: list[tuple[bytes, float]] = []
        self.strange: set[int] = set()
        self.table: dict[bytes, bytes] = {}
        self.takes: list[Take] = []
        self.position = self.committed = 0
        self.told: Counter[str] = Counter()
        self.crashes = 0
        self.others_write = False
        # the replay
        self.expected: list[str] = []
        self.expiries: dict[str, float] = {}
        self.accounts: dict[str, Account] = defaultdict(Account)
        self.slots: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)

    @initialize(seed=st.integers(0, 99), others_write=st.booleans())
    def begin(self, *, seed: int, others_write: bool) -> None:
        self.random = random.Random(seed)
        self.others_write = others_write
        self.stage = self.new_stage()

    def new_stage(self) -> InboundStage:
        stage = InboundStage(
            self.table.get,
            lambda first: iter(sorted(row for row in self.table.items() if row[0] >= first)),
            is_subject=SUBJECTS.__contains__,
            secret_mark=lambda _webhook: 7,
            group_bytes=self.random.choice((1, 1, 200, 4096)),
        )
        stage.take_up(self.read(stage.output_offset, len(self.topic)), len(self.topic))
        return stage

    def read(self, first: int, end: int) -> list[TailEvent]:
        return [TailEvent(uuid_in(self.topic[at][0]), self.topic[at][1], at) for at in range(first, end)]

    # ----- what comes in

    @rule(webhook=st.sampled_from([*WEBHOOKS, "gone"]), key=st.sampled_from(["", "a", "b", "c"]), again=st.booleans())
    def webhook_request_is_accepted(self, *, webhook: str, key: str, again: bool) -> None:
        for _ in range(2 if again else 1):
            self.arrive("webhook", webhook, [key], Outcome.ACCEPTED)
            self.now_s += 0.5

    @rule(webhook=st.sampled_from(WEBHOOKS), outcome=FAILURES, times=st.integers(1, 6))
    def webhook_requests_fail(self, webhook: str, outcome: Outcome, times: int) -> None:
        for _ in range(times):
            self.arrive("webhook", webhook, [], outcome)

    @rule(keys=KEYS, disregarded=st.integers(0, 3), is_first_part=st.booleans())
    def segment_calls(self, *, keys: list[str], disregarded: int, is_first_part: bool) -> None:
        self.arrive("segment", "APP", keys, Outcome.ACCEPTED, {"no device": disregarded}, is_first_part=is_first_part)

    def arrive(
        self,
        source: str,
        name: str,
        keys: list[str],
        outcome: Outcome,
        disregarded: dict[str, int] | None = None,
        *,
        is_first_part: bool = True,
    ) -> None:
        number = len(self.log)
        events = []
        for place, key in enumerate(keys):
            own = f"{source}/{name}/{key}" if key else ""
            uuid = own or f"{number}/{place}"
            event = msgspec.json.encode({"uuid": uuid})
            events.append(InboundEvent(key=own, uuid=uuid, event=msgspec.Raw(event)))
        request = InboundRequest(
            at_s=self.now_s - self.random.choice((0.0, 0.0, 0.2)),
            request_id=str(number),
            source=source,
            outcome=outcome,
            status=outcome.status,
            webhook_id=name if source == "webhook" else "",
            application=name if source == "segment" else "",
            events=events,
            disregarded=disregarded or {},
            is_first_part=is_first_part,
        )
        self.log.append(request)
        self.expect(request)

    def expect(self, request: InboundRequest) -> None:
        """Replay one request: the simplest thing that is right."""
        new = 0
        for event in request.events:
            if event.key and self.expiries.get(event.key, 0.0) > request.at_s:
                continue
            if event.key:
                self.expiries[event.key] = round(request.at_s + KEY_KEPT_S)
            self.expected.append(event.uuid)
            new += 1
        outcome = request.outcome
        if request.source == "webhook" and request.events and not new:
            outcome = Outcome.DUPLICATE
        subject = {"segment": "segment:APP"}.get(request.source, request.webhook_id)
        subject = subject if subject in SUBJECTS else "?"
        account, slot = self.accounts[subject], self.slots[subject, slot_of(request.at_s)]
        account.events += new
        slot["events"] += new
        slot["repeated"] += len(request.events) - new
        slot["disregarded"] += sum(request.disregarded.values())
        if not request.is_first_part:
            return
        account.received += 1
        account.succeeded += outcome.is_success
        slot[outcome] += 1
        if request.source != "webhook" or subject == "?" or outcome is Outcome.BUSY:
            return
        if outcome is not Outcome.AUTH_REJECTED:
            account.rejected_in_a_row = 0
            account.is_told = account.is_told and not outcome.is_success
            return
        account.rejected_in_a_row += 1
        if account.rejected_in_a_row >= 5 and not account.is_told:
            account.is_told = True
            account.tellings += 1

    @rule(seconds=st.sampled_from([1.0, 700.0, HOUR_S, 12 * HOUR_S, 25 * HOUR_S]))
    def time_goes_by(self, seconds: float) -> None:
        if not self.others_write or (self.position == len(self.log) and not self.takes):
            self.now_s += seconds

    @precondition(lambda self: self.others_write)
    @rule(count=st.integers(1, 3))
    def somebody_else_writes(self, count: int) -> None:
        for number in range(count):
            self.strange.add(len(self.topic))
            event = msgspec.json.encode({"uuid": f"strange {len(self.topic)} {number}"})
            self.topic.append((event, self.now_s))

    # ----- the stage

    @rule(most=st.sampled_from([1, 2, 5, ALL]))
    def apply(self, most: int) -> None:
        for unread in self.stage.take_unread():
            self.stage.remember(self.read(unread.start, unread.stop))
        for request in self.log[self.position : self.position + most]:
            self.stage.apply(self.position, request)
            self.position += 1

    @rule(most_rows=st.sampled_from([1, 3, ALL]))
    def sweep(self, most_rows: int) -> None:
        self.stage.sweep(self.now_s, most_rows)

    # ----- the broker, which may die between any two writes

    @rule(events=SOME, groups=SOME)
    def write(self, events: int, groups: int) -> None:
        writes = self.stage.take()
        self.told.update(run.webhook_id for run in writes.rejected)
        self.takes.append(Take(writes, self.position, deque(writes.events), deque(writes.groups)))
        self.broker_takes(events, groups)

    def broker_takes(self, events: int, groups: int) -> None:
        for take in self.takes:
            while take.events and events:
                self.topic.append((take.events.popleft()[1], self.now_s))
                self.stage.acknowledged(len(self.topic) - 1, 1)
                events -= 1
        while self.takes and not self.takes[0].events:
            take = self.takes[0]
            while take.groups:
                if not groups:
                    return
                self.keep(take.groups.popleft())
                groups -= 1
            self.stage.stored(take.writes)
            self.committed = take.position
            self.takes.pop(0)

    @rule(events=SOME, groups=SOME, committed=st.floats(0, 1))
    def crash(self, events: int, groups: int, committed: float) -> None:
        self.write(events, groups)
        self.takes.clear()  # what the broker did not take by now never was
        self.crashes += 1
        self.committed = self.position = round(self.committed * max(0.5, committed))
        self.stage = self.new_stage()

    def keep(self, group: RowGroup) -> None:
        assert group
        for key, value in group:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value

    # ----- what must hold

    @property
    def written(self) -> list[str]:
        return [uuid_in(event) for place, (event, _) in enumerate(self.topic) if place not in self.strange]

    @invariant()
    def each_event_is_written_once_and_in_order(self) -> None:
        assert self.written == self.expected[: len(self.written)]

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        if self.random.random() < 0.5:
            self.crash(1, 1, 0.5)
        self.apply(ALL)
        self.write(ALL, ALL)
        assert not self.takes
        assert self.written == self.expected
        self.check_counts()
        assert self.stage.unstored_keys == 0, "memory holds keys that are in the table"
        self.now_s += 2 * KEY_KEPT_S
        self.arrive("webhook", "orders", [], Outcome.ACCEPTED)
        self.apply(ALL)
        self.write(ALL, ALL)
        for _ in range(2):  # the first pass may have begun anywhere
            while not self.stage.sweep(self.now_s, 2):
                pass
        self.write(ALL, ALL)
        kept = {key for key in self.table if key != PROGRESS_KEY}
        assert kept == {counts_key("orders", slot_of(self.log[-1].at_s))} | {
            subject_key(subject) for subject in self.accounts if subject in SUBJECTS
        }

    def check_counts(self) -> None:
        for subject, account in self.accounts.items():
            row = decode_subject(self.table[subject_key(subject)]) if self.is_kept(subject) else None
            if row is None:
                continue
            found = (row.received, row.succeeded, row.events, row.rejected_in_a_row, row.is_told)
            assert found == (
                account.received,
                account.succeeded,
                account.events,
                account.rejected_in_a_row,
                account.is_told,
            )
            assert self.told[subject] >= account.tellings
            if not self.crashes:
                assert self.told[subject] == account.tellings
        for (subject, number), counts in self.slots.items():
            if number < slot_of(self.now_s) - 144:
                continue  # it may have been swept
            row = decode_counts(self.table[counts_key(subject, number)])
            figures = Counter(row.requests)
            figures["events"], figures["repeated"] = row.events, row.repeated_events
            figures["disregarded"] = sum(row.disregarded.values())
            assert +figures == +counts
            slots = self.stage.tally.counts(subject, number)
            assert slots[number] == row

    def is_kept(self, subject: str) -> bool:
        """Strangers' counts may be swept after a day, and begin anew."""
        return subject in SUBJECTS


TestInboundStage = InboundMachine.TestCase
TestInboundStage.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
