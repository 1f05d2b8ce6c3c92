"""The section `view` of faust.yml."""

from pathlib import Path

import pytest

from pipeline.config.load import load
from pipeline.errors import ConfigError
from pipeline.view.columns import Personal
from pipeline.view.roles import Role
from pipeline.view.settings import ViewSettings, is_loopback

TOKEN = "{name: ana, role: viewer, token: 0123456789abcdef}"


def read(tmp_path: Path, text: str) -> ViewSettings:
    file = tmp_path / "faust.yml"
    file.write_text(f"view: {text}\n")
    return load(file, {}).view


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return [problem.partition("faust.yml:")[2] for problem in caught.value.problems]


def test_without_a_word_it_is_served_on_loopback_and_nobody_signs_in() -> None:
    settings = ViewSettings()
    assert (settings.host, settings.needs_sign_in) == ("127.0.0.1", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_no_sign_in(host: str) -> None:
    assert is_loopback(host)
    assert ViewSettings().refusal(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "host.example", "localhost.example"])
def test_anything_else_takes_tokens_or_a_proxy_that_signs_in(tmp_path: Path, host: str) -> None:
    assert "nobody would have to sign in" in mistakes(tmp_path, f"{{host: '{host}'}}")[0]
    assert "nobody would" in mistakes(tmp_path, f"{{host: '{host}', proxy: {{networks: [10.0.0.0/8]}}}}")[0]
    assert read(tmp_path, f"{{host: '{host}', tokens: [{TOKEN}]}}").refusal(host) == ""


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{tokens: [{name: a, role: boss, token: 0123456789abcdef}]}", "1 view.tokens.0.role: must be 'viewer'"),
        ("{tokens: [{name: a, role: viewer, token: short}]}", "1 view.tokens.0.token: is too short to be safe"),
        ("{tokens: [{name: a, role: viewer, token: 0123456789 abcdef}]}", "1 view.tokens.0.token: must be printable"),
        ("{tokens: [{name: a, role: viewer}]}", "1 view.tokens.0.token: is missing"),
        (
            "{tokens: [{name: a, rol: x, role: viewer, token: 0123456789abcdef}]}",
            "1 view.tokens.0.rol: is not a key; did",
        ),
        (f"{{tokens: [{TOKEN}, {TOKEN}]}}", "1 view.tokens.1.token: is the same as that of entry 1"),
        ("{tokens: [{name: a, role: viewer, token: 0123456789abcdef, expires: soon}]}", "1 view.tokens.0.expires: 'so"),
        ("{host: '127.0.0.1:80'}", "1 view.host: is not a host"),
        ("{proxy: {networks: [10.1.1.1/8]}}", "1 view.proxy.networks.0: is not a network"),
        ("{proxy: {}}", "1 view.proxy.networks: is missing"),
        ("{proxy: {networks: [10.0.0.0/8], user_header: 'X User'}}", "1 view.proxy.user_header: is not the name of a"),
        ("{proxy: {networks: [10.0.0.0/8], user_header: X-User}}", "1 view.proxy.user_header: gives people no role"),
        ("{proxy: {networks: [10.0.0.0/8], role_header: X-Role}}", "1 view.proxy.role_header: is of no use without"),
        ("{proxy: {networks: [10.0.0.0/8], user_header: A, groups_header: B}}", "1 view.proxy.groups: groups_header"),
        ("{proxy: {networks: [10.0.0.0/8], user_header: A, role_header: B}}", "1 view.secret: is missing"),
        ("{mask: {viewer: [names]}}", "1 view.mask.viewer.0: must be 'email'"),
        ("{exports: [everybody]}", "1 view.exports.0: must be 'viewer'"),
        ("{views: [{title: x, path: 'https://x.example/'}]}", "1 view.views.0.path: must be a path"),
        ("{views: [{title: x, path: '//x.example/'}]}", "1 view.views.0.path: must be a path"),
        ("{path_prefix: stream}", "1 view.path_prefix: must be a path"),
    ],
)
def test_a_mistake_is_told_by_its_place(tmp_path: Path, text: str, mistake: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(mistake)


def test_a_mistake_never_shows_a_token(tmp_path: Path) -> None:
    text = f"{{host: 0.0.0.0, tokens: [{TOKEN}, {TOKEN}, {{name: b, role: x, token: hidden}}]}}"
    assert not [line for line in mistakes(tmp_path, text) if "0123456789abcdef" in line or "hidden" in line]


def test_a_token_that_expires_on_a_day_is_good_to_its_end(tmp_path: Path) -> None:
    text = "{name: a, role: viewer, token: 0123456789abcdef, expires: 2027-01-31}"
    (token,) = read(tmp_path, f"{{tokens: [{text}]}}").tokens
    assert token.expires_at == 1_801_440_000.0  # 2027-02-01T00:00Z
    exact = text.replace("2027-01-31", "2027-01-31T12:00+02:00")
    assert read(tmp_path, f"{{tokens: [{exact}]}}").tokens[0].expires_at == 1_801_440_000.0 - 14 * 3600


def test_lists_of_words_may_be_one_text_with_commas(tmp_path: Path) -> None:
    settings = read(tmp_path, "{exports: 'operator, admin', names: 'a.example, b.example', mask: {viewer: email}}")
    assert settings.exports == (Role.OPERATOR, Role.ADMIN)
    assert settings.names == ("a.example", "b.example")
    assert settings.masks(Role.VIEWER) == {Personal.EMAIL}


@pytest.mark.parametrize(
    ("settings", "bind", "advertised"),
    [
        (ViewSettings(), "127.0.0.1", "127.0.0.1"),
        (ViewSettings(), "::1", "[::1]"),
        (ViewSettings(), "0.0.0.0", "machine"),
        (ViewSettings(), "::", "machine"),
        (ViewSettings(), "10.0.0.7", "10.0.0.7"),
        (ViewSettings(advertised_host="worker-1.example"), "0.0.0.0", "worker-1.example"),
    ],
)
def test_others_are_told_an_address_that_they_can_reach(settings: ViewSettings, bind: str, advertised: str) -> None:
    assert settings.advertised(bind, "machine") == advertised
