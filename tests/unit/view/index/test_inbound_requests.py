"""The activity log in the index: every request a row, however it was meant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundRequest, encode
from pipeline.view.columns import Personal
from pipeline.view.index.lines import BODY_CHARS, Feed, Staged
from pipeline.view.index.search import search
from pipeline.view.index.store import Index
from pipeline.view.index.tables import INBOUND_REQUESTS
from pipeline.view.query import Query
from tests.support.index_records import Topics

REQUESTS = Feed("app-inbound-requests", "inbound_requests")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(lambda: tmp_path)
    index.open()
    yield index
    index.close()


def request(outcome: Outcome = Outcome.ACCEPTED, **more: Any) -> InboundRequest:
    told = {
        "webhook_id": "orders",
        "source": "webhook",
        "at_s": 1000.5,
        "request_id": "r",
        "status": outcome.status,
        **more,
    }
    return InboundRequest(outcome=outcome, **told)


def rows(
    index: Index, *requests: InboundRequest | bytes, masks: frozenset[Personal] = frozenset()
) -> list[dict[str, Any]]:
    topics, staged = Topics(), Staged()
    for each in requests:
        topics.stage(staged, REQUESTS, each if isinstance(each, bytes) else encode(each))
    index.write(staged)
    with index.cursor() as cursor:
        return search(cursor, INBOUND_REQUESTS, Query(sort="at", key="place", limit=1000), masks).rows


@pytest.mark.parametrize("outcome", [*Outcome])
def test_each_outcome_is_a_row_with_its_reason(index: Index, outcome: Outcome) -> None:
    (row,) = rows(index, request(outcome))

    assert row["result"] == ("success" if outcome.is_success else "failed")
    assert row["reason"] == (None if outcome.is_success else outcome.label)
    assert (row["webhook"], row["at"], row["status"]) == ("orders", 1000.5, outcome.status)


@pytest.mark.parametrize("by", ["user_id", "email", "phone", "hwid"])
def test_an_identifier_stands_in_the_column_of_its_kind(index: Index, by: str) -> None:
    (row,) = rows(index, request(identifier_by=by, identifier="it"))

    assert {name: row[name] for name in ("user_id", "email", "phone", "hwid")} == {
        name: "it" if name == by else None for name in ("user_id", "email", "phone", "hwid")
    }


@pytest.mark.parametrize("by", ["user_id", "email", "phone", "hwid"])
def test_an_identifier_is_masked_as_its_kind_is(index: Index, by: str) -> None:
    (row,) = rows(index, request(identifier_by=by, identifier="jane"), masks=frozenset({Personal(by)}))

    assert row[by].startswith(f"{by}:")


@pytest.mark.parametrize(
    "text",
    ["\x00\x01", "\u202e", '"', "\\", "{" * 9, "\n", "=1+1", "<script>", "x" * 20_000, "\ufffd", "\\ud800"],
    ids=lambda text: repr(text[:8]),
)
def test_text_of_any_kind_comes_through_whole_or_cut(index: Index, text: str) -> None:
    (row,) = rows(index, request(body=text, identifier_by="user_id", identifier=text, detail=text, key=text))

    assert row["preview"] == text[:BODY_CHARS].replace("\0", "\u2400")
    assert row["user_id"] == text[:200].replace("\0", "\u2400")


def test_what_is_no_request_is_counted_and_left_out(index: Index) -> None:
    found = rows(index, b"no JSON", b"{}", b"", request())

    assert len(found) == 1


def test_what_segment_sent_is_a_row_with_its_reasons(index: Index) -> None:
    (row,) = rows(
        index,
        request(source="segment", webhook_id="", application="A", call="/post-events", disregarded={"a": 2, "b": 1}),
    )

    assert (row["source"], row["call"], row["disregarded"], row["reasons"]) == (
        "segment",
        "/post-events",
        3,
        '{"a":2,"b":1}',
    )
