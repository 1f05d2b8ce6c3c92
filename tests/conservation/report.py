"""What a run shows, as a table, and what a failure needs to be understood."""

from tests.conservation.arrivals import POLL_S
from tests.conservation.feeder import Feeder
from tests.conservation.journal import UPSETS, Entry
from tests.conservation.oracle import Expectation, Findings
from tests.conservation.scene import LANDS_WITHIN_S, Scene

_BROKER_SETTLES_S = 3.0


def back_at_work_s(scene: Scene) -> dict[str, list[float]]:
    """Seconds from each kill of a worker until all partitions that were busy deliver again, by who went on.

    Only kills that nothing else disturbed.
    """
    times: dict[str, list[float]] = {"restarted at once": [], "taken over": []}
    journal = scene.journal
    upsets = journal.of(*UPSETS)
    for entry in journal.of("kill worker"):
        at_s = scene.arrivals.all_partitions_after(entry.at_s + LANDS_WITHIN_S)
        next_upset_s = min((other.at_s for other in upsets if other.at_s > entry.at_s), default=float("inf"))
        is_disturbed = any(
            from_s - 0.1 < entry.at_s < to_s + _BROKER_SETTLES_S for from_s, to_s in journal.broker_absences()
        )
        if at_s is None or at_s > next_upset_s or is_disturbed:
            continue
        others = _alive_beside(scene, entry)
        was_alone = not others
        times["restarted at once" if was_alone else "taken over"].append(at_s - entry.at_s)
    return times


def _alive_beside(scene: Scene, killed: Entry) -> set[str]:
    alive: set[str] = set()
    for entry in scene.journal.entries:
        if entry.at_s >= killed.at_s:
            break
        if entry.what == "start":
            alive.add(entry.whom)
        elif entry.what in ("kill worker", "stop worker", "ended by itself"):
            alive.discard(entry.whom)
    return alive - {killed.whom}


def longest_standstill_s(scene: Scene) -> tuple[float, str]:
    """The longest time without a new delivery that began with something done to the scene, and with what."""
    longest = (0.0, "nothing")
    for entry in scene.journal.of(*UPSETS):
        at_s = scene.arrivals.next_new_after(entry.at_s + POLL_S)
        if at_s is not None and at_s - entry.at_s > longest[0]:
            longest = (at_s - entry.at_s, entry.what)
    return longest


def show(scene: Scene, feeder: Feeder, expectation: Expectation, findings: Findings, *, seed: int) -> None:
    """Print the table."""
    journal = scene.journal
    standstill_s, cause = longest_standstill_s(scene)
    kills = journal.count("kill worker") + journal.count("kill broker")
    rows: list[tuple[str, str]] = [
        ("seed", str(seed)),
        ("events sent", f"{len(feeder.sent):,} and {len(feeder.poison):,} unusable"),
        ("integrations", f"{len(expectation.ids)}, {sum(expectation.matched):,} matches"),
        (
            "kill -9",
            f"{kills}: {journal.count('kill worker')} of workers, {journal.count('kill broker')} of the broker",
        ),
        ("  after a stall of the broker", str(journal.count("stall broker"))),
        (
            "stopped in good order",
            f"{journal.count('stop worker')} workers (longest {max(journal.stops_s, default=0.0):.1f} s), {journal.count('stop broker')} times the broker",
        ),
        ("workers paused and resumed", str(journal.count("pause worker"))),
        ("workers that ended by themselves", str(journal.count("ended by itself"))),
        ("deliveries", f"{findings.batches:,} batches of {findings.delivered_events:,} events"),
        ("problems", str(len(findings.problems))),
        (
            "repeated batches",
            f"{findings.repeats}: {dict(findings.repeats_by_kill)}, {findings.unexplained.total()} without a reason",
        ),
        ("  oldest of them before its kill", f"{findings.oldest_repeat_s:.2f} s"),
        ("  without a reason", ", ".join(f"{name}: {count}" for name, count in findings.unexplained.items()) or "none"),
        ("longest standstill", f"{standstill_s:.1f} s after: {cause}"),
    ]
    for what, times in back_at_work_s(scene).items():
        rows.append((f"back at work, {what}", ", ".join(f"{each:.1f} s" for each in times) or "not measured"))
    width = max(len(name) for name, _ in rows)
    print("\n" + "\n".join(f"{name:{width}}  {value}" for name, value in rows))  # noqa: T201 the table is the test's output
    for end in journal.ends:
        print(f"  {end}")  # noqa: T201


def failure(scene: Scene, problems: list[str]) -> str:
    """All problems, the journal, and the ends of the workers' logs."""
    began_at_s = scene.journal.entries[0].at_s
    lines = [f"{len(problems)} problems:", *problems[:40], "", "what was done:"]
    lines += [f"  {entry.at_s - began_at_s:7.2f} s  {entry.what} {entry.whom}" for entry in scene.journal.entries]
    lines += ["", *scene.journal.ends]
    for worker in scene.workers:
        if worker.process is not None:
            lines += ["", f"the end of {worker.log}:", worker.process.tail()]
    return "\n".join(lines)
