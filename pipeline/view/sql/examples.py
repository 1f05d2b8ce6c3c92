"""Queries that answer what is asked most, one click away; the page of documentation works through the same."""

from typing import Final, NamedTuple


class Example(NamedTuple):
    """A question, the query that answers it, and how to read the answer."""

    question: str
    query: str
    reading: str


EXAMPLES: Final = (
    Example(
        "Did customer crm get their events?",
        """\
SELECT integration, matched, delivered, open, waiting, parked, discarded,
       round(100.0 * delivered / nullif(matched, 0), 1) AS delivered_percent
FROM ledger
WHERE integration = 'crm'""",
        "`open` gathers in the window, `waiting` is on its way, `parked` gave up and can be replayed. "
        "The five add up to `matched`.",
    ),
    Example(
        "What is waiting, and why?",
        """\
SELECT integration, count(*) AS batches, sum(events) AS events, now() - min(sealed_at) AS oldest,
       max(tries) AS most_tries, arg_max(status, tried_at) AS last_status, arg_max(detail, tried_at) AS why
FROM batches
WHERE outcome IN ('waiting', 'retrying')
GROUP BY integration
ORDER BY oldest DESC""",
        "`oldest` is how long the oldest batch waits. Where `why` is empty, nothing was tried yet: "
        "its lane is held back, by a breaker or by its rate.",
    ),
    Example(
        "What failed yesterday, by status?",
        """\
SELECT integration, status, count(*) AS tries, count(DISTINCT batch) AS batches,
       min(at_) AS first_at, max(at_) AS last_at, any_value(detail) AS for_example
FROM attempts
WHERE verdict <> 'delivered'
  AND at_ >= current_date - INTERVAL 1 DAY AND at_ < current_date
GROUP BY ALL
ORDER BY tries DESC""",
        "No `status` means that nobody answered: a name that was not found, a connection refused, no answer in time. "
        "Days are those of UTC.",
    ),
)
