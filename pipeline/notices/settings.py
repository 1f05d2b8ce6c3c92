"""Where notices go beside their topic."""

from typing import ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.model.integration import checked_authorization, checked_url
from pipeline.model.section import Section, mistakes


class NoticeSettings(Section):
    """The operations webhook. Without one notices go to the topic ``<app>-notices`` and into the log only."""

    url_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("webhook",),)
    """Where these settings name hosts that are connected to: each must be one that ``outbound`` permits."""

    webhook: str | None = Field(
        None,
        description="Where each notice is POSTed, as a JSON object whose `text` is one line for people, as chat services take "
        "it. It must be an address that `outbound` permits. Credentials do not belong in it where `authorization` will do.",
    )
    authorization: SecretStr | None = Field(
        None, description="The whole value of the webhook's `Authorization` header, sent as it is. Never shown."
    )

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, text: str | None) -> str | None:
        return None if text is None else checked_url(text, ("https", "http"))

    @field_validator("authorization")
    @classmethod
    def _check_authorization(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else checked_authorization(secret)

    @model_validator(mode="after")
    def _check_together(self) -> "NoticeSettings":
        if self.authorization is not None and self.webhook is None:
            raise mistakes({("authorization",): "is of no use without webhook; add one or leave it out"})
        return self
