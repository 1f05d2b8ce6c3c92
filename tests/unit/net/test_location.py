import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipeline.net.location import destination_of

OWN = URL("http://crm.example/hooks/T0KEN?key=s3cret")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (None, ""),
        ("", ""),
        ("https://crm.example/hooks/T0KEN?key=s3cret", "the same place by https://"),
        ("/hooks/T0KEN?key=s3cret", "itself"),
        ("/hooks/T0KEN/?key=s3cret", "the same path with a / at its end"),
        ("/login?next=T0KEN", "another path on the same host"),
        ("https://crm.example/", "https://crm.example"),
        ("https://www.crm.example/hooks/T0KEN", "https://www.crm.example"),
        ("//www.crm.example:8443/T0KEN", "http://www.crm.example:8443"),
        ("http://[::1]:8080/T0KEN", "http://[::1]:8080"),
        ("ftp://crm.example/T0KEN", "an address that is none"),
        ("javascript:T0KEN", "an address that is none"),
        ("http://[T0KEN", "an address that is none"),
        ("http://ana:s3cret@crm.example:99999/", "an address that is none"),
    ],
)
def test_it_says_where_a_redirect_leads(location: str | None, words: str) -> None:
    assert destination_of(OWN, location) == words


@given(st.text())
def test_no_location_breaks_it_or_gives_a_path_away(text: str) -> None:
    assert "T0KEN" not in destination_of(OWN, f"/x/T0KEN{text}")
