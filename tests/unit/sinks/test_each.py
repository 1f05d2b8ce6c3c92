"""Which answers are about one event, and which about all, where events go one by one."""

from collections.abc import Mapping, Sequence

import pytest

from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.ranges import numbers_in
from pipeline.sinks.base import Leaving
from pipeline.sinks.each import send_each
from pipeline.sinks.posting import Events
from tests.support.delivering import sealed

OK = Outcome(Verdict.DELIVERED, "200", status=200)
BAD = Outcome(Verdict.REFUSED, "400", status=400)
STRANGER = Outcome(Verdict.REFUSED, "401", status=401, hint=Hint.UNAUTHORIZED)
GONE = Outcome(Verdict.REFUSED, "410", status=410, hint=Hint.GONE)


async def tried(answers: Mapping[int, Outcome], count: int = 10) -> tuple[Outcome, Sequence[int]]:
    """What came of ``count`` events in order, those in ``answers`` answered so, and which of them were sent."""
    sent: list[int] = []

    async def post(events: Events, _event: bytes, _now_s: float) -> Outcome:
        [number] = numbers_in(events.ranges)
        sent.append(number)
        return answers.get(number, OK)

    outcome = await send_each(sealed("mail", 0, count, 0.0), post, now_s=0.0, is_ordered=True, leaving=Leaving())
    return outcome, sent


@pytest.mark.parametrize("answer", [BAD, STRANGER], ids=lambda each: each.detail)
async def test_an_event_that_is_refused_after_others_arrived_is_given_up_alone(answer: Outcome) -> None:
    outcome, sent = await tried({4: answer, 7: answer})

    assert sent == list(range(10))
    assert [(each.first, each.end) for each in outcome.refused] == [(4, 5), (7, 8)]
    assert [*numbers_in(outcome.arrived)] == [0, 1, 2, 3, 5, 6, 8, 9]


@pytest.mark.parametrize(
    ("answers", "last_sent"),
    [
        ({0: STRANGER}, 0),
        ({4: STRANGER, 5: STRANGER}, 5),
        ({4: GONE}, 4),
        ({3: BAD, 4: STRANGER, 5: BAD, 6: STRANGER}, 6),
    ],
    ids=["at the beginning", "twice in a row", "gone", "with nothing that arrived between"],
)
async def test_answers_about_the_credentials_or_the_address_end_the_try(
    answers: Mapping[int, Outcome], last_sent: int
) -> None:
    outcome, sent = await tried(answers)

    assert (sent[-1], outcome.hint) == (last_sent, answers[last_sent].hint)
