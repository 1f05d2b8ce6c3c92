"""What names a user: a user id, an email address, a phone number, a device.

Every user has a *key*: made from the user id, or, of one whose user id is not known, from the first other identifier that was
seen, with ``@`` before it. Such a user is anonymous, and joins the one with a user id as soon as the two are seen together.
"""

import hashlib
from enum import StrEnum
from typing import Final

MOST_CHARACTERS: Final = 512
"""The longest identifier that is taken."""

_ANONYMOUS: Final = "@"
_QUOTE: Final = "="
_DIGEST_BYTES: Final = 16
_PHONE_FILLING: Final = str.maketrans("", "", " \t-().\u00a0/")


class By(StrEnum):
    """A kind of identifier."""

    USER_ID = "user_id"
    EMAIL = "email"
    PHONE = "phone"
    HWID = "hwid"


def normalized(by: By, value: str) -> str:
    """The one spelling of an identifier: without spaces around it, email addresses in lower case, phone numbers without filling.

    Raises ``ValueError`` where it can be none: empty, too long, or with characters that no identifier has.
    """
    value = value.strip()
    if by is By.EMAIL:
        value = value.lower()
    elif by is By.PHONE:
        value = value.translate(_PHONE_FILLING).strip()
    if not value:
        raise ValueError(f"{by}: is empty")
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"{by}: has {len(value)} characters, and at most {MOST_CHARACTERS} are taken")
    if "\0" in value or not _is_unicode(value):
        raise ValueError(f"{by}: holds a character that cannot be stored")
    return value


def key_of_user(user_id: str) -> str:
    """The key of the user with this user id."""
    return _QUOTE + user_id if user_id[:1] in (_ANONYMOUS, _QUOTE) else user_id


def user_id_of(key: str) -> str | None:
    """The user id that a key was made from; ``None`` for an anonymous user's."""
    return None if is_anonymous(key) else key.removeprefix(_QUOTE)


def key_of_anonymous(value: str) -> str:
    """The key of a user of whom only this identifier (a device, an email address, a phone number) is known."""
    return _ANONYMOUS + value


def is_anonymous(key: str) -> bool:
    """Whether no user id of the user with this key is known."""
    return key.startswith(_ANONYMOUS)


def place_of_user(application: str, key: str) -> str:
    """What a user's row is placed by; give it to ``partition_of``."""
    return f"{application}\0{key}"


def place_of_identifier(application: str, value: str) -> str:
    """What an identifier's row is placed by: it lies where the anonymous user of this identifier would."""
    return place_of_user(application, key_of_anonymous(value))


def digest(*parts: str) -> bytes:
    """A short name for identifiers that does not show them."""
    return hashlib.sha256("\0".join(parts).encode()).digest()[:_DIGEST_BYTES]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
