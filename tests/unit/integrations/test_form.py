from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from pipeline.config.schema import Settings
from pipeline.integrations.form import FieldType, FormSpec, form_of
from pipeline.integrations.form_values import fill_form, join_list, mistakes_of, parse_form, split_list, without_secrets
from pipeline.integrations.secrets import KEEP, masked, secret_places
from pipeline.integrations.written import settings_of
from pipeline.model.integration import Count, Integration
from pipeline.model.section import Origin, Section
from pipeline.model.units import Duration
from pipeline.sinks.base import SinkSpec
from pipeline.sinks.registry import SINKS, spec_of

HTTP = form_of(spec_of("http"))
XTREMEPUSH = form_of(spec_of("xtremepush"))

COMPLETE = [
    {
        "id": "crm",
        "kind": "http",
        "url": "https://crm.example/events",
        "authorization": "Bearer x",
        "events": ["Email Sent", "a, b"],
        "platforms": ["*"],
        "enabled": False,
        "batch": {"max_events": 7, "max_age": "90m"},
        "retry": {"delays": []},
        "breaker": {"enabled": False},
        "rate": {"per_second": 0.5, "shared": True},
        "signing": {"secrets": ["whsec_" + "A" * 32]},
        "tls": {"ca": "ca.pem"},
    },
    {
        "id": "warehouse",
        "kind": "grpc",
        "url": "grpcs://h.example:443",
        "events": ["*"],
        "platforms": ["*"],
        "keep_alive": {},
    },
    {"id": "mail", "kind": "email", "url": "https://mail.example/"},
    {
        "id": "xp",
        "kind": "xtremepush",
        "url": "https://xp.example/",
        "channels": ["*"],
        "channel_map": {"iOS": "app=push"},
        "auth": {"type": "basic", "username": "me", "password": "hush"},
    },
    {"id": "seg", "kind": "segment", "write_key": "k", "region": "eu", "events": ["*"]},
]


class Throttle(Section):
    """How slowly."""

    pause_s: Annotated[float, Duration(0.1, 60.0)] = Field(5.0, alias="pause", description="Between two.")


class PigeonIntegration(Integration):
    """Carried by birds."""

    kind: Literal["pigeon"] = Field(description="What the endpoint speaks.")
    loft: str = Field(description="Where the birds live.")
    birds: Count = Field(3, ge=1, le=9, description="How many fly.")
    seal: SecretStr = Field(description="What the letters are sealed with.")
    size: Literal["small", "large"] = Field("small", description="Of the birds.")
    throttle: Throttle | None = Field(None, description="How slowly they fly.")


PIGEON = SinkSpec("pigeon", PigeonIntegration, lambda _settings, _context: None, "Sends birds.")  # type: ignore[arg-type, return-value]


def read(settings: dict) -> Integration:
    whole = Settings.model_validate({"integrations": [settings]}, context=Origin.FILE, by_alias=True, by_name=False)
    return whole.integrations[0]


def names(form: FormSpec) -> set[str]:
    return {field.name for group in form.groups for field in group.all_fields()}


def test_a_new_sink_has_a_form_with_no_more_code() -> None:
    form = form_of(PIGEON)

    assert {"id", "url", "loft", "birds", "seal", "size", "throttle.pause", "batch.max_age"} <= names(form)
    birds, seal, size, pause = (form.field(name) for name in ("birds", "seal", "size", "throttle.pause"))
    assert birds is not None
    assert (birds.type, birds.default, birds.least, birds.most, birds.help) == ("whole", "3", 1, 9, "How many fly.")
    assert seal is not None
    assert (seal.type, seal.is_required) == (FieldType.SECRET, True)
    assert size is not None
    assert (size.type, size.choices) == (FieldType.CHOICE, ("small", "large"))
    assert pause is not None
    assert (pause.type, pause.default) == (FieldType.DURATION, "5s")


def test_the_secrets_of_a_new_sink_are_masked_with_no_more_code() -> None:
    assert ("seal",) in secret_places(PigeonIntegration)
    assert masked({"seal": "wax"}, PigeonIntegration) == {"seal": KEEP}


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_every_field_says_what_it_is_for(spec: SinkSpec) -> None:
    fields = [field for group in form_of(spec).groups for field in group.all_fields()]

    assert all(field.help and field.title for field in fields)


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_no_two_inputs_have_the_same_name(spec: SinkSpec) -> None:
    inputs = [field.input for group in form_of(spec).groups for field in group.all_fields()]

    assert len(inputs) == len(set(inputs))


@pytest.mark.parametrize("settings", COMPLETE, ids=lambda settings: settings["kind"])
def test_what_a_filled_form_means_is_what_it_was_filled_with(settings: dict) -> None:
    form = form_of(spec_of(settings["kind"]))

    assert read(parse_form(form, fill_form(form, settings))) == read(settings)


@pytest.mark.parametrize("settings", COMPLETE, ids=lambda settings: settings["kind"])
def test_what_an_integration_is_written_as_makes_the_same_integration(settings: dict) -> None:
    integration = read(settings)

    assert read(settings_of(integration)) == integration


def test_an_empty_field_is_an_absent_key() -> None:
    given_ = {"id": "crm", "timeout": "", "batch.max_age": " ", "enabled": "true", "breaker.enabled": "on"}

    assert parse_form(HTTP, given_) == {"kind": "http", "id": "crm"}


def test_a_flag_that_is_not_ticked_is_false() -> None:
    assert parse_form(HTTP, {"breaker.enabled": "true"})["enabled"] is False


def test_an_optional_section_counts_only_where_it_is_switched_on() -> None:
    filled = {"rate.per_second": "5", "rate.unit": "events"}

    assert "rate" not in parse_form(HTTP, filled)
    assert parse_form(HTTP, filled | {"rate": "true"})["rate"] == {"per_second": 5, "unit": "events"}


def test_only_the_chosen_variant_of_a_section_is_read() -> None:
    given_ = {"auth.type": "bearer", "auth:bearer.token": "abc", "auth:basic.username": "me"}

    assert parse_form(XTREMEPUSH, given_)["auth"] == {"type": "bearer", "token": "abc"}


def test_an_empty_list_can_be_written_where_it_is_not_the_default() -> None:
    assert parse_form(HTTP, {"retry.delays": "[]"})["retry"] == {"delays": []}


@pytest.mark.parametrize("text", ["1, 2 and 3", "ten", "1e9", "99999999999999999999", "٣"])
def test_what_is_no_number_stays_text_for_the_check_to_refuse(text: str) -> None:
    assert parse_form(HTTP, {"lanes": text})["lanes"] == text


def test_mistakes_stand_at_their_inputs() -> None:
    problems = [
        ("auth.username", "is missing"),
        ("events.1", "is none of ours"),
        ("batch.max_age", "has no unit"),
        ("nowhere.at_all", "is not a key"),
    ]

    found = mistakes_of(XTREMEPUSH, problems, {"auth.type": "basic"})

    assert found.by_input == {
        "auth:basic.username": ("is missing",),
        "events": ("entry 2: is none of ours",),
        "batch.max_age": ("has no unit",),
    }
    assert found.elsewhere == (("nowhere.at_all", "is not a key"),)


@given(st.lists(st.text(min_size=1).filter(lambda text: text.isprintable() and text == text.strip() and text != "[]")))
def test_any_list_of_names_survives_its_text(entries: list[str]) -> None:
    assert split_list(join_list(entries)) == entries


@given(st.dictionaries(st.sampled_from(sorted(names(XTREMEPUSH) | {"auth.type", "rate"})), st.text()))
def test_no_submitted_form_breaks_the_reading(submitted: dict[str, str]) -> None:
    parsed = parse_form(XTREMEPUSH, submitted)

    assert fill_form(XTREMEPUSH, parsed) is not None


def test_secrets_that_were_written_are_not_shown_again() -> None:
    submitted = {"id": "crm", "authorization": "hush", "signing.secrets": f"{KEEP}#1\nhush"}

    assert without_secrets(HTTP, submitted) == {"id": "crm", "authorization": "", "signing.secrets": f"{KEEP}#1"}


def test_names_of_great_length_do_not_break_the_reading() -> None:
    text = "x" * 200_000

    assert parse_form(HTTP, {"events": text})["events"] == [text]
