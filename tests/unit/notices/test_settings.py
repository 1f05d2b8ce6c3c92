"""``notices`` in ``faust.yml``."""

from pathlib import Path

import pytest

from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError


def loaded(folder: Path, text: str) -> Settings:
    file = folder / "faust.yml"
    file.write_text(text, encoding="utf-8")
    return load(file, {"OPS_TOKEN": "Bearer s3cret"})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(folder, text)
    return [line.removeprefix(str(folder / "faust.yml")) for line in error.value.problems]


def test_without_the_section_there_is_no_webhook(tmp_path):
    assert loaded(tmp_path, "app: a").notices.webhook is None


def test_a_webhook_and_its_authorization_are_read_and_the_latter_is_not_shown(tmp_path):
    text = "notices:\n  webhook: https://ops.example/hook\n  authorization: ${OPS_TOKEN}\n"
    notices = loaded(tmp_path, text).notices
    assert notices.webhook == "https://ops.example/hook"
    assert notices.authorization.get_secret_value() == "Bearer s3cret"
    assert "s3cret" not in repr(notices)


@pytest.mark.parametrize(
    ("webhook", "words"),
    [
        ("http://ops.example/hook", "is plain http://"),
        ("https://10.0.0.7/hook", "is at 10.0.0.7, which is not public"),
        ("ftp://ops.example/hook", "must begin with https:// or http://"),
        ("https://u:p@ops.example/hook", "holds credentials"),
    ],
)
def test_a_webhook_that_outbound_does_not_permit_or_that_is_none_is_a_mistake(tmp_path, webhook, words):
    (line,) = problems(tmp_path, f"notices:\n  webhook: {webhook}\n")
    assert line.startswith(":2 notices.webhook: ")
    assert words in line


def test_an_authorization_that_no_header_can_carry_is_a_mistake(tmp_path):
    text = 'notices:\n  webhook: https://ops.example/hook\n  authorization: "Bearer a\\n"\n'
    (line,) = problems(tmp_path, text)
    assert line.startswith(":3 notices.authorization: begins or ends with white space")


def test_an_authorization_without_a_webhook_is_a_mistake(tmp_path):
    (line,) = problems(tmp_path, "notices:\n  authorization: Bearer a\n")
    assert line == ":2 notices.authorization: is of no use without webhook; add one or leave it out"


def test_mistakes_here_and_in_integrations_are_reported_together(tmp_path):
    text = "integrations:\n  - {id: crm, kind: http, url: http://crm.example/, events: '*', platforms: '*'}\nnotices:\n  webhook: http://ops.example/\n"
    assert [line.split(" ")[0] for line in problems(tmp_path, text)] == [":2", ":4"]
