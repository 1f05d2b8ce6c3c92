"""How an Xtremepush-style webhook shows who sends it: the settings of each type, and the signature."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from pipeline.model.integration import checked_url
from pipeline.model.section import InWords, Section, mistakes

SIGNATURE_HEADER: Final = "X-Xtremepush-Signature"

_LAST_ASCII: Final = 0x7F


def _given(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text:
        raise ValueError("is empty")
    if text != text.strip():
        raise ValueError("begins or ends with white space or a line break; take it off")
    if not text.isprintable():
        raise ValueError("holds a line break or a control character")
    return secret


def _token(secret: SecretStr) -> SecretStr:
    text = _given(secret).get_secret_value()
    if any(character == " " or ord(character) > _LAST_ASCII for character in text):
        raise ValueError(
            "holds a space or a character outside ASCII, which no token has; give the token alone, without Bearer"
        )
    return secret


def _printable(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be 1 or more printable characters")
    return text


def _user(text: str) -> str:
    if ":" in _printable(text):
        raise ValueError("holds a colon, which would end it: user name and password travel with a colon between")
    return text


Secret = Annotated[SecretStr, AfterValidator(_given), InWords("secret text")]


class NoAuth(Section):
    """Nothing beside what ``authorization`` says."""

    type: Literal["none"] = Field(description="How requests show who sends them.")


class BasicAuth(Section):
    """User name and password in every request."""

    type: Literal["basic"] = Field(description="How requests show who sends them.")
    username: Annotated[str, AfterValidator(_user), InWords("text")] = Field(
        description="The user name that the endpoint knows."
    )
    password: Secret = Field(description="The password that belongs to it. Never shown.")

    def header(self) -> str:
        """The value of ``Authorization`` (RFC 7617, in UTF-8)."""
        return basic_header(self.username, self.password.get_secret_value())


class BearerAuth(Section):
    """A fixed token in every request."""

    type: Literal["bearer"] = Field(description="How requests show who sends them.")
    token: Annotated[SecretStr, AfterValidator(_token), InWords("secret text")] = Field(
        description="The token alone, without the word Bearer. Never shown."
    )

    def header(self) -> str:
        """The value of ``Authorization`` (RFC 6750)."""
        return f"Bearer {self.token.get_secret_value()}"


class SignedAuth(Section):
    """A signature over time and body in every request."""

    type: Literal["signed"] = Field(description="How requests show who sends them.")
    secret: Secret = Field(description="The key that requests are signed with. Never shown.")
    previous: Secret | None = Field(
        None,
        description="The key before it, while receivers may still know only that one: requests then carry a signature "
        "by each. Never shown.",
    )

    @model_validator(mode="after")
    def _keys_differ(self) -> "SignedAuth":
        if self.previous is not None and self.previous.get_secret_value() == self.secret.get_secret_value():
            raise mistakes({("previous",): "is the same as secret; leave it out"})
        return self

    def keys(self) -> tuple[str, ...]:
        """The live keys, the newest first."""
        return tuple(key.get_secret_value() for key in (self.secret, self.previous) if key is not None)


class OAuth2Auth(Section):
    """Tokens from the customer's token endpoint, by client credentials (RFC 6749, section 4.4)."""

    type: Literal["oauth2"] = Field(description="How requests show who sends them.")
    token_url: str = Field(description="Where tokens are fetched. The rules of `url` and `outbound` hold for it too.")
    client_id: Annotated[str, AfterValidator(_printable), InWords("text")] = Field(description="Who asks for a token.")
    client_secret: Secret = Field(description="What belongs to it. Never shown.")
    scope: Annotated[str, AfterValidator(_printable), InWords("text")] | None = Field(
        None, description="What the token is to be good for: words with spaces between."
    )
    client_auth: Literal["basic", "post"] = Field(
        "basic",
        description="Where client_id and client_secret stand in the request for a token: `basic` in its `Authorization` "
        "header, `post` in its body.",
    )

    @field_validator("token_url")
    @classmethod
    def _check_token_url(cls, text: str) -> str:
        return checked_url(text, ("https", "http"))


AnyAuth = Annotated[NoAuth | BasicAuth | BearerAuth | SignedAuth | OAuth2Auth, Field(discriminator="type")]
"""One of the five types of authentication."""


def basic_header(user: str, password: str) -> str:
    """The value of ``Authorization`` for a user name and password (RFC 7617, in UTF-8)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def signature_header(body: bytes, keys: Sequence[str], *, now_s: float) -> str:
    """The value of ``X-Xtremepush-Signature``: ``t=<UNIX seconds>,v1=<hex>``, with one ``v1`` for each live key.

    Each is HMAC-SHA256 over ``{t}.{raw body}``. Source: the vendor's page on signatures gives the header, the algorithm and
    that the time is signed; the string itself is an assumption, taken from the format's common use.
    """
    moment = str(int(now_s))
    signed = moment.encode() + b"." + body
    signatures = [hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in keys]
    return ",".join([f"t={moment}", *(f"v1={signature}" for signature in signatures)])
