from hypothesis import given
from hypothesis import strategies as st

from pipeline.doctor.lines import COLUMNS, lines_of, printable, table, verdict
from pipeline.doctor.step import STEPS, Examination, State, Step

STEP = st.builds(
    Step,
    name=st.sampled_from(STEPS),
    state=st.sampled_from(State),
    text=st.text(max_size=300),
    advice=st.text(max_size=300),
    duration_s=st.floats(0, 600),
)


def examination(*states: State, integration: str = "crm") -> Examination:
    steps = tuple(Step(name, state, f"text of {name}") for name, state in zip(STEPS, states, strict=False))
    return Examination(integration, "http", "crm.example:443", steps)


@given(STEP)
def test_lines_fit_a_terminal_and_hold_nothing_that_commands_it(step: Step) -> None:
    for line in lines_of(step):
        assert len(line) <= COLUMNS
        assert line.isprintable()


@given(st.lists(STEP, max_size=5), st.text("abc-", min_size=1, max_size=64))
def test_rows_fit_a_terminal(steps: list[Step], integration: str) -> None:
    found = Examination(integration, "xtremepush", "crm.example:443", tuple(steps))
    for line in table([found, found], ["x" * 64]):
        assert len(line) <= COLUMNS
        assert line.isprintable()


def test_a_good_step_is_one_line_with_its_time() -> None:
    (line,) = lines_of(Step("TLS", State.GOOD, "TLSv1.3", duration_s=0.0312))
    assert line == "  good TLS              31 ms TLSv1.3"


def test_advice_stands_below_what_was_found() -> None:
    first, second = lines_of(Step("name", State.BAD, "no address", "check it", 0.002))
    assert first.split() == ["BAD", "name", "2", "ms", "no", "address"]
    assert second.strip() == "-> check it"


def test_control_characters_are_not_passed_on() -> None:
    assert printable("red \x1b[31m\nand \x07bell") == "red ?[31m and ?bell"


def test_the_worst_step_decides() -> None:
    good, warning, bad = State.GOOD, State.WARNING, State.BAD
    assert examination(good, State.SKIPPED).state is good
    assert examination(good, warning).state is warning
    assert examination(warning, bad).state is bad
    assert [verdict(examination(state)) for state in (good, warning, bad)] == [
        "all is well",
        "it works, but something needs to be looked at",
        "something is wrong",
    ]


def test_the_table_tells_the_first_failure_before_any_warning() -> None:
    lines = table([examination(State.WARNING, State.BAD), examination(State.GOOD, integration="mail")], ["off"])
    assert [line.split()[:2] for line in lines[1:]] == [["BAD", "crm"], ["good", "mail"], ["-", "off"]]
    assert "name: text of name" in lines[1]
