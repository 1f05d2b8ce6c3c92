import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.receiver.manners import GOOD, Manners, manners_of


@pytest.mark.parametrize(
    ("path", "manners"),
    [
        ("/", GOOD),
        ("/events?fail=1", GOOD),
        ("/failure", GOOD),
        ("/fail/503", Manners(fail_share=1.0, fail_status=503)),
        ("/fail/410/crm?x=1", Manners(fail_share=1.0, fail_status=410)),
        ("/fail/429/0.2", Manners(fail_share=0.2, fail_status=429)),
        ("/partial/0.25/crm", Manners(partial_share=0.25)),
        ("/stall/5", Manners(stall_s=5.0)),
        ("/stall/0.25/more", Manners(stall_s=0.25)),
        ("/throttle/10", Manners(throttle_per_s=10.0)),
        ("/large/104857600", Manners(answer_bytes=104_857_600)),
        ("/reset", Manners(ending="reset")),
        ("/garbage/x", Manners(ending="garbage")),
        ("/redirect", Manners(ending="redirect")),
        ("/never", Manners(ending="never")),
        ("/drip", Manners(ending="drip")),
    ],
)
def test_a_path_asks_for_manners(path: str, manners: Manners) -> None:
    assert manners_of(path) == manners


@pytest.mark.parametrize("path", ["/fail", "/fail/", "/fail/abc", "/fail/99", "/fail/600", "/fail/503/2", "/stall/-1", "/stall/nan", "/partial", "/partial/2",
                                  "/throttle/0", "/large/x", "/large/-1"])  # fmt: skip
def test_a_number_that_makes_no_sense_is_told(path: str) -> None:
    with pytest.raises(ValueError, match="needs a number"):
        manners_of(path)


def test_the_servers_own_manners_hold_where_the_path_asks_for_none() -> None:
    default = Manners(fail_share=0.5)
    assert manners_of("/events", default) is default
    assert manners_of("/stall/1", default) == Manners(fail_share=0.5, stall_s=1.0)


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    try:
        assert isinstance(manners_of("/" + path), Manners)
    except ValueError as error:
        assert "needs a number" in str(error)  # noqa: PT017  the text may also be a path that is fine
