"""The files that the repository ships: faust.yml and the page that describes it."""

import re
from pathlib import Path

import pytest

from pipeline.config import reference
from pipeline.config.describe import keys_of, sections_of
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.sinks.registry import SINKS

ROOT = Path(__file__).parents[3]
FAUST_YML = ROOT / "faust.yml"


def test_the_shipped_file_needs_nothing_from_the_environment_and_sets_the_defaults() -> None:
    shipped = load(FAUST_YML, {})

    assert shipped.model_copy(update={"integrations": ()}) == Settings()


def test_its_one_integration_is_a_disabled_example_with_the_defaults() -> None:
    (example,) = load(FAUST_YML, {}).integrations
    given = {"id", "kind", "url", "events", "platforms", "enabled"}
    bare = type(example).model_validate(example.model_dump(include=given))

    assert not example.enabled
    assert example == bare


def _all_keys() -> set[str]:
    found: set[str] = set()
    sections = [Settings, *(spec.settings for spec in SINKS)]
    while sections:
        section = sections.pop()
        found |= set(keys_of(section))
        sections += [inner for field in section.model_fields.values() for inner in sections_of(field)]
    return found


@pytest.mark.parametrize("key", sorted(_all_keys()))
def test_it_shows_every_setting(key: str) -> None:
    assert re.search(rf"(^[ #-]*|[{{,] ?){key}:", FAUST_YML.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("key", sorted(_all_keys()))
def test_the_page_describes_every_setting(key: str) -> None:
    assert re.search(rf"^### `(.*\.)?{key}`$", reference.page(), re.MULTILINE) or f"## {key}\n" in reference.page()


def test_the_commented_parts_are_valid_too(tmp_path: Path) -> None:
    text = FAUST_YML.read_text(encoding="utf-8")
    # A comment that begins like a setting (`# key: value`, `# - id:`) is one.
    text = re.sub(r"^( *)# ( *(?:- )?[a-z_]+:( |$).*)", r"\1\2", text, flags=re.MULTILINE)
    file = tmp_path / "faust.yml"
    file.write_text(text, encoding="utf-8")

    environment = {
        "EXAMPLE_TOKEN": "Bearer a",
        "CRM_TOKEN": "b",
        "SIGNING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "SEGMENT_WRITE_KEY": "c",
        "XP_SECRET": "d",
        "XP_OLD_SECRET": "e",
        "ANA_TOKEN": "0123456789abcdef",
        "VIEW_SECRET": "fedcba9876543210",
        "ORDERS_SECRET": "0f1e2d3c4b5a6978",
        "OLD_ORDERS_SECRET": "8796a5b4c3d2e1f0",
        "SEGMENT_TOKEN": "a1b2c3d4e5f60718",
    }
    settings = load(file, environment)

    assert [integration.id for integration in settings.integrations] == [
        "example",
        "crm",
        "warehouse",
        "segment",
        "mailbox",
        "xp",
    ]
    assert settings.brokers == ("kafka-1:9092", "kafka-2:9092")
    assert settings.inbound is not None
    assert [settings.inbound.url_of(webhook.id) for webhook in settings.inbound.webhooks] == [
        "https://hooks.example/webhooks/orders"
    ]
    assert settings.segment_destination is not None
    assert [*settings.segment_destination.applications] == ["32E5A-9B411"]


def test_the_page_in_the_repository_is_up_to_date() -> None:
    assert reference.main(["--check", "--output", str(ROOT / reference.PAGE)]) == 0


def test_an_outdated_page_is_noticed_and_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "docs" / "configuration.md"

    assert reference.main(["--check", "--output", str(page)]) == 1
    assert "run python -m pipeline.config.reference" in capsys.readouterr().err
    assert reference.main(["--output", str(page)]) == 0
    assert reference.main(["--check", "--output", str(page)]) == 0
