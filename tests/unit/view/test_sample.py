from typing import Any

from pipeline.view.columns import Personal
from pipeline.view.sample import mask_webhook, unmask_webhook

STORED: dict[str, Any] = {"id": "orders", "sample": '{"customer": {"email": "jane@example.com"}, "total": 5}'}
EMAIL = frozenset({Personal.EMAIL})


def test_who_may_see_personal_data_sees_the_sample_as_it_was_pasted() -> None:
    assert mask_webhook(STORED, frozenset()) == STORED


def test_personal_data_in_a_sample_is_masked_and_its_places_stay() -> None:
    masked = mask_webhook(STORED, EMAIL)["sample"]
    assert "jane" not in masked
    assert '"total": 5' in masked


def test_a_webhook_without_a_sample_stays_as_it_is() -> None:
    assert mask_webhook({"id": "orders"}, EMAIL) == {"id": "orders"}


def test_a_masked_sample_that_comes_back_is_the_stored_one() -> None:
    shown = mask_webhook(STORED, EMAIL) | {"event": "Paid"}
    assert unmask_webhook(shown, STORED, EMAIL) == STORED | {"event": "Paid"}


def test_a_sample_that_was_changed_is_taken_as_it_is() -> None:
    changed = {"id": "orders", "sample": '{"total": 6}'}
    assert unmask_webhook(changed, STORED, EMAIL) == changed
