import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError
from pipeline.inbound.settings import InboundSettings
from pipeline.sinks.http import HttpIntegration

GOOD = """\
    integrations:
      - id: crm
        kind: http
        url: https://crm.example/events
        events: [Email Opened]
        platforms: [Email]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faust.yml"


def problems(file: Path, text: str, **environment: str) -> list[str]:
    """What is wrong with ``text``, without the directory."""
    file.write_text(dedent(text), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environment)
    assert caught.value.__cause__ is None
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [line.removeprefix(f"{file.parent}/") for line in caught.value.problems]


def loaded(file: Path, text: str, **environment: str) -> Settings:
    file.write_text(dedent(text), encoding="utf-8")
    return load(file, environment)


TEN_MISTAKES = """\
    app: Distributary
    brokr: kafka://k:9092
    partitions: 0
    integrations:
      - id: crm
        kind: http
        urll: https://crm.example/events
        url: https://crm.example/events
        events: []
        platforms:
          - Email
          - Emial
        batch: {max_events: 100, max_age: 30}
        authorization: ${CRM_TOKEN}
      - id: crm
        kind: http
        url: https://other.example
        events: "*"
        platforms: "*"
      - id: warehouse
        kind: carrier-pigeon
"""


def test_ten_mistakes_are_ten_lines_in_the_files_order(file: Path) -> None:
    found = problems(file, TEN_MISTAKES)

    assert [line.partition(": ")[0] for line in found] == [
        "faust.yml:1 app",
        "faust.yml:2 brokr",
        "faust.yml:3 partitions",
        "faust.yml:7 integrations.0.urll",
        "faust.yml:9 integrations.0.events",
        "faust.yml:12 integrations.0.platforms.1",
        "faust.yml:13 integrations.0.batch.max_age",
        "faust.yml:14 integrations.0.authorization",
        "faust.yml:15 integrations.1.id",
        "faust.yml:21 integrations.2.kind",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("brokr: x", "faust.yml:1 brokr: is not a key; did you mean broker?"),
        ("zzz: x", "faust.yml:1 zzz: is not a key; keys here: app, broker, redis, "),
        ("partitions: many", "faust.yml:1 partitions: must be a whole number"),
        ("partitions: true", "faust.yml:1 partitions: must be a whole number"),
        ("partitions: 1.5", "faust.yml:1 partitions: must be a whole number"),
        ("partitions: 2000", "faust.yml:1 partitions: is too large; at most 1000"),
        ("app: 17", "faust.yml:1 app: must be text; put it in quotes"),
        ("app: [a]", "faust.yml:1 app: must be text; put it in quotes"),
        ("topic: a/b", "faust.yml:1 topic: is not a topic's name"),
        ("store: rocksdb", "faust.yml:1 store: must be rocksdb:// or memory://; did you mean rocksdb://?"),
        ("outbound: {allow_http: 17}", "faust.yml:1 outbound.allow_http: must be true or false"),
        ("outbound: {allow_http: perhaps}", "faust.yml:1 outbound.allow_http: must be true or false"),
        ("outbound: yes", "faust.yml:1 outbound: must be a section of keys, each as `key: value`"),
        ("outbound: {allow_networks: [10.1.0.5/16]}", "names a host, not a network; did you mean 10.1.0.0/16?"),
        ("outbound: {allow_networks: [ten]}", "faust.yml:1 outbound.allow_networks.0: is not a network"),
        ("outbound: {allow_networks: [10]}", "faust.yml:1 outbound.allow_networks.0: must be a network"),
        ("broker: k:9092", "faust.yml:1 broker: must begin with kafka://"),
        ("broker: kafka://k:99999", "faust.yml:1 broker: is not a list of broker addresses"),
        ("broker: kafka://", "faust.yml:1 broker: is not a list of broker addresses"),
        ("redis: http://r", "faust.yml:1 redis: must be a URL such as redis://"),
        ("worker: {tick: 1}", "faust.yml:1 worker.tick: 1 has no unit; write 1s for seconds"),
        ("worker: {tick_s: 1s}", "faust.yml:1 worker.tick_s: is not a key; did you mean tick?"),
        ("worker: {window_memory: 5}", "faust.yml:1 worker.window_memory: 5 has no unit; write 5B for bytes"),
        ("integrations: 5", "faust.yml:1 integrations: must be a list"),
        ("integrations: [5]", "faust.yml:1 integrations.0: must be a section of keys"),
        ("integrations: [{id: a}]", "faust.yml:1 integrations.0.kind: is missing; available: http"),
        ("integrations: [{kind: htpt}]", "integrations.0.kind: is not a kind; did you mean http?; available: http"),
        ("integrations: [{kind: [http]}]", "faust.yml:1 integrations.0.kind: is not a kind; available: http"),
        ("integrations: [{kind: email}]", "faust.yml:1 integrations.0.url: is missing: where batches go"),
        ("integrations: [{kind: http}]", "faust.yml:1 integrations.0.url: is missing: where batches go"),
        ("inbound: {port: 0}", "faust.yml:1 inbound.port: is too small; at least 1"),
        ("inbound: {prot: 6070}", "faust.yml:1 inbound.prot: is not a key; did you mean port?"),
        ("inbound: {host: https://a}", "faust.yml:1 inbound.host: is not a host"),
        ("inbound: {public_url: hooks.example}", "faust.yml:1 inbound.public_url: must begin with https:// or http://"),
        ("inbound: {public_url: https://a?b}", "faust.yml:1 inbound.public_url: holds a query"),
        ("inbound: {max_body: 64MiB}", "faust.yml:1 inbound.max_body: is too large; at most 4MiB"),
        ("inbound: {rate: {}}", "faust.yml:1 inbound.rate.per_second: is missing: how many requests a second"),
        ("inbound: {tls: {}}", "faust.yml:1 inbound.tls.cert: is missing"),
        ("inbound: {trust_proxy: 10.0.0.1/8}", "faust.yml:1 inbound.trust_proxy: is not a network"),
        ("inbound: {webhooks: 5}", "faust.yml:1 inbound.webhooks: must be a list"),
        (
            "inbound: {webhooks: [{}]}",
            "faust.yml:1 inbound.webhooks.0.identify: is missing: how the payload says whose",
        ),
        ("inbound: {webhooks: [{id: A}]}", "inbound.webhooks.0.id: must be 1 to 64 of the characters a-z, 0-9 and -"),
        (
            "inbound: {webhooks: [{id: a}, {id: a}]}",
            "webhooks.1.id: is already the id of the webhook in line 1; ids are",
        ),
        ("inbound: {webhooks: [{event: '*'}]}", 'inbound.webhooks.0.event: is one event; "*" is not used here'),
        ("inbound: {webhooks: [{application: a b}]}", "inbound.webhooks.0.application: is not an application code"),
        (
            "inbound: {webhooks: [{identify: {by: mail}}]}",
            "identify.by: must be user_id or email or phone or hwid; did you",
        ),
        ("inbound: {webhooks: [{identify: {field: 'a['}}]}", "identify.field: has a bracket at character 2 without an"),
        ("inbound: {webhooks: [{identify: {field: 'a[*]'}}]}", "identify.field: leads to several values"),
        ("inbound: {webhooks: [{attributes: [a]}]}", "inbound.webhooks.0.attributes: must be a section of keys"),
        (
            "inbound: {webhooks: [{attributes: {a: 5}}]}",
            "inbound.webhooks.0.attributes.a: must be text; put it in quotes",
        ),
        ("inbound: {webhooks: [{attributes: {a: b..c}}]}", "webhooks.0.attributes.a: has no key at character 3"),
        (
            "inbound: {webhooks: [{attributes: {__a: b}}]}",
            "webhooks.0.attributes.__a: attributes that begin with __ are",
        ),
        ("inbound: {webhooks: [{sample: '{'}]}", "inbound.webhooks.0.sample: is not JSON"),
        ("inbound: {webhooks: [{sample: '[]'}]}", "inbound.webhooks.0.sample: is JSON, but not an object"),
        ("inbound: {webhooks: [{secret: short}]}", "inbound.webhooks.0.secret: must have 16 to 512 characters"),
        (
            "inbound: {webhooks: [{secret: Bearer abcdefghijkl}]}",
            "webhooks.0.secret: begins with Bearer; write the secret",
        ),
        (
            "inbound: {webhooks: [{previous_until: soon}]}",
            "webhooks.0.previous_until: 'soon' is no time; write for example",
        ),
        (
            "inbound: {webhooks: [{platform: iSO}]}",
            "inbound.webhooks.0.platform: 'iSO' is not a platform; did you mean",
        ),
        (
            "segment_destination: {}",
            "faust.yml:1 segment_destination: needs the listener of inbound; add `inbound: {}`",
        ),
        (
            "inbound: {}\nsegment_destination: {strickt: true}",
            "faust.yml:2 segment_destination.strickt: is not a key; did you mean strict?",
        ),
        (
            "inbound: {}\nsegment_destination: {applications: {A-B: 5}}",
            "faust.yml:2 segment_destination.applications.A-B: must be text; put it in quotes",
        ),
        (
            "inbound: {}\nsegment_destination: {applications: {A-B: []}}",
            "faust.yml:2 segment_destination.applications.A-B: needs a key",
        ),
        ("users: {tags: [5, '']}", "faust.yml:1 users.tags.1: must be 1 to 512 printable characters"),
        ("users: {redis_timeout: 250}", "faust.yml:1 users.redis_timeout: 250 has no unit; write 250s for seconds"),
        ("integrations: [{kind: http, signing: {}}]", "integrations.0.signing.secrets: is missing"),
        ("integrations: [{kind: http, tls: {cart: x}}]", "integrations.0.tls.cart: is not a key; did you mean cert?"),
        ("integrations: [{kind: xtremepush, auth: {}}]", "integrations.0.auth.type: is missing; one of none, basic, "),
        (
            "integrations: [{kind: xtremepush, auth: {type: }}]",
            "integrations.0.auth.type: is missing; one of none, basic",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: [a]}}]",
            "integrations.0.auth.type: must be none or basic or ",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: sined}}]",
            "integrations.0.auth.type: must be none or basic or",
        ),
        ("integrations: [{kind: xtremepush, auth: {type: sined}}]", "; did you mean signed?"),
        ("integrations: [{kind: xtremepush, auth: basic}]", "integrations.0.auth: must be a section of keys, each as"),
        (
            "integrations: [{kind: xtremepush, auth: {type: basic}}]",
            "auth.password: is missing: the password that belongs",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: basic, pasword: a}}]",
            "pasword: is not a key; did you mean pass",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: basic, token: a}}]",
            "token: is not a key; keys here: type, user",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: bearer, token: 5}}]",
            "integrations.0.auth.token: must be text",
        ),
        (
            "integrations: [{kind: xtremepush, auth: {type: oauth2, client_auth: get}}]",
            "client_auth: must be basic or post",
        ),
        (
            "integrations: [{kind: xtremepush, channel_map: {iSO: a}}]",
            "channel_map: 'iSO' is not a platform; did you mean",
        ),
        (
            "integrations: [{kind: xtremepush, channel_map: {iOS: 1}}]",
            "0.channel_map.iOS: must be text; put it in quotes",
        ),
        ("integrations: [{kind: xtremepush, event_map: [a]}]", "integrations.0.event_map: must be a section of keys"),
        ("? [a]\n: b", "faust.yml:1: a key must be plain text"),
        ('"a\\nb": c', "faust.yml:1 'a\\nb': is not a key"),
    ],
)
def test_each_mistake_says_where_it_is_and_what_is_allowed(file: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(problems(file, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "faust.yml:1: is empty"),
        ("# nothing\n", "faust.yml:1: is empty"),
        ("- a\n", "faust.yml:1: must be a mapping"),
        ("just words\n", "faust.yml:1: must be a mapping"),
        ("app: a\nb: [\n", "faust.yml:3: is not valid YAML"),
        ("app:\n\t- b\n", "faust.yml:2: is not valid YAML"),
        ("app: a\n---\napp: b\n", "faust.yml:2: is not valid YAML: expected a single document"),
        ("app: a\nb: \x01\n", "faust.yml:2: holds a character that YAML does not allow"),
        ("app: a\ntopic: b\napp: c\n", "faust.yml:3 app: is given twice; the first is in line 1"),
        ("app: {<<: {a: b}}\n", "faust.yml:1 app.<<: merge keys are not supported"),
        ("app: !x y\n", "faust.yml:1 app: has a tag"),
        ("app: &a [*a]\n", "faust.yml:1: is nested more than 64 deep"),
        ("[" * 300_000, "faust.yml:1: is nested more than 64 deep"),
    ],
)
def test_a_text_that_is_no_configuration_is_one_problem_with_its_line(file: Path, text: str, expected: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {})

    assert expected in str(caught.value)


@pytest.mark.timeout(30)
def test_aliases_that_unfold_without_end_are_refused(file: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    assert "use fewer aliases" in problems(file, "\n".join(rows))[0]


def test_an_alias_repeats_a_value(file: Path) -> None:
    text = GOOD.replace("[Email Opened]", "&names [Email Opened]") + "        messages: *names\n"

    assert loaded(file, text).integrations[0].messages == ("Email Opened",)


def test_a_missing_unreadable_or_badly_encoded_file_is_said(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yml"
    latin.write_bytes("app: a\ntopic: ü\n".encode("latin-1"))

    for path, expected in (
        (tmp_path / "none.yml", "there is no such file; name another with --config FILE or DISTRIBUTARY_CONFIG"),
        (tmp_path, "cannot be read"),
        (latin, "latin.yml:2: is not UTF-8 text"),
    ):
        with pytest.raises(ConfigError, match=expected):
            load(path, {})


def test_a_byte_order_mark_does_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfapp: a\n")

    assert load(file, {}).app == "a"


def test_the_path_comes_from_the_argument_else_the_environment_else_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("faust", "variable", "argument"):
        (tmp_path / f"{name}.yml").write_text(f"app: {name}\n")
    monkeypatch.chdir(tmp_path)
    environment = {"DISTRIBUTARY_CONFIG": str(tmp_path / "variable.yml")}

    assert load(None, {}).app == "faust"
    assert load(None, environment).app == "variable"
    assert load(tmp_path / "argument.yml", environment).app == "argument"


def test_variables_are_put_in_after_parsing_so_that_they_cannot_change_the_structure(file: Path) -> None:
    text = GOOD.replace("Email Opened", "${NAME}") + "        authorization: Bearer ${TOKEN}\n"
    crm = loaded(file, text, NAME='a], "x": {b: c', TOKEN="t0: #ken").integrations[0]

    assert crm.events == ('a], "x": {b: c',)
    assert crm.authorization is not None
    assert crm.authorization.get_secret_value() == "Bearer t0: #ken"


def test_variables_work_in_flow_style_inside_text_and_for_numbers(file: Path) -> None:
    settings = loaded(
        file, "{partitions: ${N}, topic: a.${T}.${T}, outbound: {allow_http: ${H}}}", N="8", T="b", H="true"
    )

    assert (settings.partitions, settings.topic, settings.outbound.allow_http) == (8, "a.b.b", True)


def test_two_dollars_stand_for_themselves(file: Path) -> None:
    text = GOOD.replace("Email Opened", "a $${NAME} $1 $$")

    assert loaded(file, text).integrations[0].events == ("a ${NAME} $1 $$",)


def test_every_unset_variable_is_named_with_its_line_and_nothing_follows_from_it(file: Path) -> None:
    found = problems(file, "app: ${ONE}\ntopic: a\nworker: {tick: ${TWO}}\nbroker: ${THREE\n")

    assert [line.partition(";")[0] for line in found] == [
        "faust.yml:1 app: the environment variable ONE is not set",
        "faust.yml:3 worker.tick: the environment variable TWO is not set",
        "faust.yml:4 broker: write ${NAME} for a variable, or $${ for the two characters themselves",
    ]


def test_only_booleans_and_whole_numbers_are_not_text(file: Path) -> None:
    text = GOOD.replace("[Email Opened]", "[NO, 1:30, 2024-01-01, 1.0, 007, on, 1e3, 0x1F]")

    assert loaded(file, text).integrations[0].events == ("NO", "1:30", "2024-01-01", "1.0", "007", "on", "1e3", "0x1F")


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "line",
    [
        f"authorization: {SECRET}\N{EURO SIGN}",
        f'authorization: "{SECRET}\\n"',
        f"authorization: [{SECRET}]",
        f"authorization: {{{SECRET}: {SECRET}}}",
        f"authorization: *{SECRET}",
        f"authorization: !{SECRET} x",
        f"authorization: !a!{SECRET} x",
        f"authorization: '{SECRET}",
        f"authorization: @{SECRET}",
        f"authorization: %{SECRET}",
        f"authorization: {SECRET}: x",
        "authorization: ${TOKEN}\n",
        "timeout: ${TOKEN}",
        "platforms: [${TOKEN}]",
        "campaigns: [${TOKEN}, '*']",
        "fields: ${TOKEN}",
        "id: ${TOKEN}",
        f"url: https://ana:{SECRET}@crm.example/",
        f"url: https://crm.example/?key={SECRET}#x",
        f"url: http://crm.example/?key={SECRET}",
        f"url: https://10.0.0.1/?key={SECRET}",
    ],
)
def test_no_message_shows_a_secret(file: Path, line: str) -> None:
    key = line.partition(":")[0]
    text = "\n".join(row for row in dedent(GOOD).splitlines() if not re.match(rf" +(- )?{key}:", row))
    text = text.replace("integrations:\n", "integrations:\n  -\n") if key == "id" else text

    found = "\n".join(problems(file, f"{text}\n    {line}\n", TOKEN=f"{SECRET}\n\N{EURO SIGN}'"))

    assert found
    assert SECRET not in found


def test_a_secret_is_not_in_what_the_settings_print(file: Path) -> None:
    text = f"redis: redis://:{SECRET}@r:6379/0\n" + dedent(GOOD) + f"    authorization: {SECRET}\n"
    settings = loaded(file, text)

    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()


def test_plain_http_is_refused_unless_it_is_allowed(file: Path) -> None:
    text = GOOD.replace("https://", "http://")

    assert problems(file, text) == [
        "faust.yml:4 integrations.0.url: is plain http://; use https://, or set outbound.allow_http: true"
    ]
    assert loaded(file, "    outbound: {allow_http: true}\n" + text).integrations


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("10.1.2.3", "10.1.2.3"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("169.254.169.254", "169.254.169.254"),
        ("[::1]", "::1"),
        ("[::ffff:10.1.2.3]", "::ffff:"),
        ("[fd00::1]", "fd00::1"),
        ("0.0.0.0", "0.0.0.0"),
    ],
)
def test_addresses_that_are_not_public_are_refused_unless_they_are_allowed(file: Path, host: str, shown: str) -> None:
    text = GOOD.replace("crm.example", host)

    assert f"integrations.0.url: is at {shown}" in problems(file, text)[0]
    allowed = '    outbound: {allow_networks: [127.0.0.0/8, 10.1.0.0/16, 169.254.0.0/16, "::1/128", "fd00::/8", 0.0.0.0/32]}\n'
    assert loaded(file, allowed + text).integrations


@pytest.mark.parametrize("host", ["93.184.215.14", "localhost", "crm.internal", "1password.example", "[2606:4700::1]"])
def test_public_addresses_and_names_are_left_to_the_connection(file: Path, host: str) -> None:
    assert loaded(file, GOOD.replace("crm.example", host)).integrations


def test_what_holds_between_parts_is_reported_together_with_the_rest(file: Path) -> None:
    first = dedent(GOOD).replace("https", "http")
    again = "\n".join(first.splitlines()[1:])
    found = problems(file, f"app: A\n{first}{again}\n")

    assert [line.partition(": ")[0] for line in found] == [
        "faust.yml:1 app",
        "faust.yml:5 integrations.0.url",
        "faust.yml:8 integrations.1.id",
        "faust.yml:10 integrations.1.url",
    ]
    assert "is already the id of the integration in line 3" in found[2]


def test_the_environment_fills_in_what_the_file_leaves_out(file: Path) -> None:
    environment = {"KAFKA_BROKERS": "k1:9093, k2", "REDIS_URL": "redis://r:6379/1"}
    settings = loaded(file, "app: a\n", **environment)
    own = loaded(file, "broker: kafka://mine:1\nredis: redis://mine\n", **environment)

    assert settings.brokers == ("k1:9093", "k2:9092")
    assert settings.redis is not None
    assert settings.redis.get_secret_value() == "redis://r:6379/1"
    assert own.brokers == ("mine:1",)
    assert own.redis is not None
    assert own.redis.get_secret_value() == "redis://mine"


def test_without_any_broker_the_local_servers_are_meant(file: Path) -> None:
    settings = loaded(file, "app: a\n", KAFKA_BROKERS="")

    assert settings.brokers is None
    assert settings.redis is None


def test_a_bad_environment_is_reported_with_the_rest(file: Path) -> None:
    found = problems(file, "app: A\n", KAFKA_BROKERS="k:port", REDIS_URL=f"http://{SECRET}")

    assert [line.partition(":")[0] for line in found] == [
        "faust.yml",
        "environment KAFKA_BROKERS",
        "environment REDIS_URL",
    ]
    assert SECRET not in "".join(found)


XTREMEPUSH = """\
    integrations:
      - id: xp
        kind: xtremepush
        url: https://xp.example/hooks
        channels: [Email, Push]
"""


def test_what_holds_between_keys_is_reported_at_its_line(file: Path) -> None:
    text = """\
    integrations:
      - id: xp
        kind: xtremepush
        url: https://xp.example/hooks
        channels:
          - Email
          - Mail
        events: [message_send, Push Shown]
        authorization: Bearer a
        auth:
          type: signed
          secret: a
    """
    assert [line.partition("; ")[0] for line in problems(file, text)] == [
        "faust.yml:7 integrations.0.channels.1: is no platform's channel",
        "faust.yml:8 integrations.0.events.1: is an event without a name there",
        "faust.yml:9 integrations.0.authorization: cannot stand beside auth of type signed",
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://login.example/token", "is plain http://; use https://, or set outbound.allow_http: true"),
        ("https://10.1.2.3/token", "is at 10.1.2.3, which is not public"),
        ("ftp://login.example", "must begin with https:// or http://"),
    ],
)
def test_a_token_endpoint_is_held_to_the_same_rules_as_an_endpoint(file: Path, url: str, expected: str) -> None:
    auth = f"        auth:\n          type: oauth2\n          token_url: {url}\n          client_id: a\n"
    text = XTREMEPUSH + auth + "          client_secret: b\n"

    (found,) = problems(file, text)
    assert found.startswith(f"faust.yml:8 integrations.0.auth.token_url: {expected}")
    if not url.startswith("ftp"):
        allowed = "    outbound: {allow_http: true, allow_networks: [10.0.0.0/8]}\n"
        assert loaded(file, allowed + text).integrations


@pytest.mark.parametrize(
    "auth",
    [
        f"{{type: {SECRET}}}",
        f"{{type: basic, username: {SECRET}:x, password: {SECRET} }}",
        f'{{type: basic, username: ana, password: "{SECRET} "}}',
        f'{{type: bearer, token: "Bearer {SECRET}"}}',
        f"{{type: signed, secret: {SECRET}, previous: {SECRET}}}",
        f"{{type: oauth2, token_url: {SECRET}, client_id: a, client_secret: b}}",
        f"{{type: oauth2, token_url: https://a:{SECRET}@b.example, client_id: a, client_secret: b}}",
        f"{{type: oauth2, token_url: http://b.example/?{SECRET}, client_id: a, client_secret: {SECRET}}}",
        f"{{type: oauth2, client_auth: {SECRET}}}",
    ],
)
def test_no_message_about_credentials_shows_them(file: Path, auth: str) -> None:
    found = "\n".join(problems(file, XTREMEPUSH + f"        auth: {auth}\n"))

    assert "integrations.0.auth" in found
    assert SECRET not in found


WEBHOOKS = """\
    inbound:
      tls: {cert: hooks.pem, key: /etc/hooks.key}
      webhooks:
        - id: orders
          name: Shop orders
          event: CheckoutSuccess
          application: 32E5A-9B411
          identify: {by: email, field: customer.email}
          secret: ${SECRET}
        - id: orders
          secret: ${SHORT}
    segment_destination:
      applications:
        32E5A-9B411: [ "${SECRET}", "${SHORT}" ]
"""


def test_mistakes_in_webhooks_have_their_lines_and_show_no_secret(file: Path) -> None:
    found = problems(file, WEBHOOKS, SECRET="s3cret-of-sixteen-characters", SHORT="t00-short")

    assert [line.partition(": ")[0] for line in found] == [
        "faust.yml:10 inbound.webhooks.1.name",
        "faust.yml:10 inbound.webhooks.1.event",
        "faust.yml:10 inbound.webhooks.1.application",
        "faust.yml:10 inbound.webhooks.1.identify",
        "faust.yml:10 inbound.webhooks.1.id",
        "faust.yml:11 inbound.webhooks.1.secret",
        "faust.yml:14 segment_destination.applications.32E5A-9B411.1",
    ]
    assert not any("s3cret" in line or "t00-short" in line for line in found)


def test_the_listeners_relative_tls_paths_start_from_the_files_directory(file: Path) -> None:
    inbound = loaded(file, "inbound: {tls: {cert: hooks.pem, key: /etc/hooks.key}}\n").inbound

    assert inbound is not None
    assert inbound.tls is not None
    assert (inbound.tls.cert, inbound.tls.key) == (file.parent / "hooks.pem", Path("/etc/hooks.key"))


@pytest.mark.parametrize("text", ["inbound:\n", "app: a\n"])
def test_without_the_section_there_is_no_listener(file: Path, text: str) -> None:
    assert loaded(file, text).inbound is None


def test_an_empty_section_takes_every_default(file: Path) -> None:
    assert loaded(file, "inbound: {}\n").inbound == InboundSettings()


def test_relative_tls_paths_start_from_the_files_directory(file: Path) -> None:
    crm = loaded(file, GOOD + "        tls: {ca: ca.pem, cert: /etc/c.pem}\n").integrations[0]

    assert isinstance(crm, HttpIntegration)
    assert crm.tls is not None
    assert (crm.tls.ca, crm.tls.cert, crm.tls.key) == (file.parent / "ca.pem", Path("/etc/c.pem"), None)


def test_each_integration_is_of_its_kinds_class_and_python_may_hand_one_over(file: Path) -> None:
    crm = loaded(file, GOOD).integrations[0]

    assert isinstance(crm, HttpIntegration)
    assert Settings(integrations=(crm,)).integrations == (crm,)


_WORDS = """
    auth type basic signed oauth2 token_url secret channels channel_map event_map
    app broker integrations id kind http url https://a.example events platforms batch retry delays tls ca worker tick 1s
    outbound allow_networks 10.0.0.0/8 * & ! ${X} ${Y} $${ [ ] { } , : - ? # ' " | > ~ true 7 << %
"""
_WORD = st.sampled_from(_WORDS.split())
_TEXT = st.lists(st.one_of(_WORD, st.sampled_from(["\n", "\n  ", "\n    ", ": ", " "])), max_size=40).map("".join)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
_NO_FUSS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _loads_or_says_why(file: Path) -> None:
    said: list[str] = []
    try:
        load(file, {"X": "x"})
    except ConfigError as error:
        said = error.problems or ["nothing"]
    assert all(line.startswith(str(file)) and "\n" not in line for line in said)


@_NO_FUSS
@given(_TEXT)
def test_whatever_the_text_only_configuration_errors_are_raised(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    _loads_or_says_why(file)


@_NO_FUSS
@given(st.binary(max_size=60))
def test_whatever_the_bytes_only_configuration_errors_are_raised(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    _loads_or_says_why(file)


@_NO_FUSS
@given(st.dictionaries(_WORD, _VALUE, max_size=5), st.dictionaries(_WORD, _VALUE, max_size=6))
def test_whatever_the_values_only_configuration_errors_are_raised(
    file: Path, top: dict[str, object], one: dict[str, object]
) -> None:
    # JSON is YAML too.
    for kind in ("http", "xtremepush"):
        file.write_text(json.dumps(top | {"integrations": [one | {"kind": kind}, top]}), encoding="utf-8")
        _loads_or_says_why(file)


@_NO_FUSS
@given(st.dictionaries(_WORD | st.just("type"), _VALUE, max_size=6), _VALUE)
def test_whatever_the_authentication_only_configuration_errors_are_raised(
    file: Path, auth: dict[str, object], other: object
) -> None:
    ways = [auth | {"type": word} for word in ("none", "basic", "bearer", "signed", "oauth2")]
    integrations = [{"kind": "xtremepush", "auth": way} for way in (*ways, auth, other)]
    file.write_text(json.dumps({"integrations": integrations}), encoding="utf-8")
    _loads_or_says_why(file)
