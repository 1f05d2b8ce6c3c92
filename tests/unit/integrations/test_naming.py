from hypothesis import given
from hypothesis import strategies as st

from pipeline.integrations.naming import id_for
from pipeline.model.integration import checked_id


def test_an_id_is_made_of_letters_and_digits() -> None:
    assert id_for("  Été: New orders (EU) ", ()) == "ete-new-orders-eu"


def test_a_name_without_letters_of_an_id_gets_a_plain_one() -> None:
    assert id_for("注文", {"webhook"}) == "webhook-2"


@given(st.text(max_size=120), st.integers(0, 12))
def test_whatever_the_name_is_the_id_is_one_and_free(name: str, taken: int) -> None:
    ids: list[str] = []
    for _ in range(taken + 1):
        ids.append(checked_id(id_for(name, ids)))
    assert len({*ids}) == taken + 1
