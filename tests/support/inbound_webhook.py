"""Webhooks for tests."""

from typing import Any

from pipeline.inbound.settings import WebhookSettings

SECRET = "current-secret-of-orders"
PREVIOUS_SECRET = "previous-secret-of-orders"


def webhook(**changes: Any) -> WebhookSettings:
    """A webhook that takes everything from where the vendor's sample has it."""
    settings = {
        "id": "orders",
        "name": "Shop orders",
        "event": "CheckoutSuccess",
        "application": "32E5A-9B411",
        "identify": {"by": "email", "field": "email_address"},
        "attributes": {"total": "price", "order_id": "order_number"},
        "secret": SECRET,
    }
    return WebhookSettings.model_validate(settings | changes)
