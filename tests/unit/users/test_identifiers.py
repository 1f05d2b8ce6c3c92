"""Identifiers have one spelling, and keys tell apart what they are made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.users.identifiers import By, is_anonymous, key_of_anonymous, key_of_user, normalized, user_id_of

texts = st.text(min_size=1, max_size=40)


@given(texts, texts)
def test_keys_of_different_users_differ(one, other):
    assert (key_of_user(one) == key_of_user(other)) is (one == other)
    assert key_of_user(one) != key_of_anonymous(other)


@given(texts)
def test_a_key_tells_its_user_id(user_id):
    assert user_id_of(key_of_user(user_id)) == user_id
    assert not is_anonymous(key_of_user(user_id))
    assert user_id_of(key_of_anonymous(user_id)) is None


@given(st.sampled_from(list(By)), texts)
def test_spelling_again_changes_nothing(by, value):
    try:
        spelled = normalized(by, value)
    except ValueError:
        return
    assert normalized(by, spelled) == spelled


@pytest.mark.parametrize("value", ["", "  ", "x" * 513, "a\0b", "\ud800"])
@pytest.mark.parametrize("by", list(By))
def test_what_cannot_be_stored_is_refused(by, value):
    with pytest.raises(ValueError, match=by):
        normalized(by, value)


def test_addresses_and_numbers_are_spelled_in_one_way():
    assert normalized(By.EMAIL, " Jane@Example.COM ") == "jane@example.com"
    assert normalized(By.PHONE, "+1 (555) 123-4567") == "+15551234567"
    assert normalized(By.USER_ID, " Jane ") == "Jane"
