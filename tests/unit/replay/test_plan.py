from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import ROW_VERSION, LaneRow, ParkedRow
from pipeline.replay.parked import Named, ParkedBatch, PendingRows, Selection
from pipeline.replay.plan import Group, make_plan
from tests.support.delivering import integration

NOW_S = 1_700_000_000.0
INTEGRATIONS = [integration("crm"), integration("mail"), integration("off", enabled=False)]


def parked(lane: str, first: int, *, kind: str = "http", reason: str = "retries exhausted: 503") -> ParkedBatch:
    return ParkedBatch(kind, 0, lane, first, ParkedRow(ROW_VERSION, first + 10, (), 0, NOW_S, reason))


def rows(*batches: ParkedBatch, **lanes: LaneRow) -> PendingRows:
    return PendingRows([*batches], {("http", lane): row for lane, row in lanes.items()})


def test_batches_are_counted_by_integration_and_reason():
    plan = make_plan(
        Selection(),
        rows(parked("crm", 0), parked("crm~backfill", 0), parked("crm", 10, reason="refused: 404"), parked("mail", 0)),
        INTEGRATIONS,
    )
    assert plan.groups() == [
        Group("crm", "http", "retries exhausted: 503", 2, 20),
        Group("crm", "http", "refused: 404", 1, 10),
        Group("mail", "http", "retries exhausted: 503", 1, 10),
    ]
    assert (len(plan.batches), plan.events) == (4, 40)


def test_what_nobody_could_deliver_is_left_out_and_named():
    plan = make_plan(
        Selection(), rows(parked("gone", 0), parked("crm", 0, kind="email"), parked("crm", 10)), INTEGRATIONS
    )
    assert [batch.id for batch in plan.batches] == ["crm:10-20"]
    assert [batch.id for batch in plan.left_out] == ["gone:0-10", "crm:0-10"]
    assert [note.partition(":")[0] for note in plan.notes] == [
        "crm is of kind http now",
        "gone is not in the configuration",
    ]


def test_what_holds_a_lane_back_is_said():
    plan = make_plan(
        Selection(),
        rows(
            *(parked(lane, 0) for lane in ("crm", "mail", "off")),
            crm=LaneRow(ROW_VERSION, 10, halted_for="abc"),
            mail=LaneRow(ROW_VERSION, 10, breaker=BreakerRow(opened_at=NOW_S)),
            off=LaneRow(ROW_VERSION, 10),
        ),
        INTEGRATIONS,
    )
    disabled, halted, broken = plan.notes
    assert "off is not enabled" in disabled
    assert "distributary resume crm" in halted
    assert "distributary resume mail" in broken


def test_a_batch_that_was_named_and_is_not_parked_is_explained():
    named = [Named.parse(text) for text in ("crm:0-10", "crm:10-20", "crm:20-30", "crn:0-10")]
    plan = make_plan(Selection(batches=(*named,)), rows(parked("crm", 0), crm=LaneRow(ROW_VERSION, 20)), INTEGRATIONS)
    assert [batch.id for batch in plan.batches] == ["crm:0-10"]
    assert [(each.batch, each.is_mistake) for each in plan.not_parked] == [
        ("crm:10-20", False),
        ("crm:20-30", True),
        ("crn:0-10", True),
    ]
    assert plan.has_mistakes


def test_its_json_has_every_part():
    plan = make_plan(
        Selection(batches=(Named.parse("crm:0-10"), Named.parse("crm:10-20"), Named.parse("gone:0-10"))),
        rows(parked("crm", 0), parked("gone", 0), crm=LaneRow(ROW_VERSION, 20)),
        INTEGRATIONS,
    )
    report = plan.as_json()
    assert (report["batches"], report["events"], report["left_out"]) == (1, 10, ["gone:0-10"])
    assert report["groups"] == [
        {"integration": "crm", "kind": "http", "reason": "retries exhausted: 503", "batches": 1, "events": 10}
    ]
    assert [each["batch"] for each in report["not_parked"]] == ["crm:10-20"]
