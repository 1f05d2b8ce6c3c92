import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.path import (
    LONGEST_PATH,
    MISSING,
    MOST_ENTRIES,
    MOST_FIELDS,
    MOST_STEPS,
    Every,
    Path,
    parse_path,
    paths_of,
    pick,
)

keys = st.text(max_size=12) | st.sampled_from(
    ["a", "b", "a.b", "[0]", "[*]", '"', "\\", "", " ", "ключ", "🛒", "a\nb", "__proto__"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
payloads = st.dictionaries(keys, values, max_size=5)
steps = keys | st.integers(0, 999_999) | st.just(Every.ENTRY)
paths = st.builds(lambda first, rest: Path((first, *rest)), keys, st.lists(steps, max_size=6)).filter(
    lambda path: len(str(path)) <= LONGEST_PATH
)


def nodes_of(value: Any, path: Path) -> list[Any]:
    """What is at ``path``, by the textbook: the nodes that each step leads to from those of the step before."""
    nodes = [value]
    for step in path:
        following: list[Any] = []
        for node in nodes:
            if step is Every.ENTRY:
                following += node if isinstance(node, list) else []
            elif isinstance(step, str):
                following += [node[step]] if isinstance(node, dict) and step in node else []
            else:
                following += [node[step]] if isinstance(node, list) and step < len(node) else []
        nodes = following
    return nodes


@given(paths)
def test_a_path_is_read_back_from_its_own_spelling(path: Path) -> None:
    assert parse_path(str(path)) == path
    assert str(parse_path(str(path))) == str(path)


@given(payloads, paths)
def test_a_path_picks_what_its_steps_lead_to(payload: dict[str, Any], path: Path) -> None:
    found = pick(payload, path)
    nodes = nodes_of(payload, path)

    if path.is_one_value:
        assert [found] == nodes if nodes else found is MISSING
    else:
        assert found == nodes or (found is MISSING and not nodes)


@given(payloads)
def test_every_field_of_a_sample_is_found_at_its_path(payload: dict[str, Any]) -> None:
    for path, value in paths_of(payload):
        assert pick(payload, parse_path(path)) == value
        assert str(parse_path(path)) == path


@given(payloads)
def test_no_field_of_a_sample_is_listed_twice(payload: dict[str, Any]) -> None:
    listed = [path for path, _ in paths_of(payload)]

    assert len(listed) == len(set(listed))


def leaves_of(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves_of(inner, (*here, key))]
    if isinstance(value, list):
        return [leaf for number, inner in enumerate(value) for leaf in leaves_of(inner, (*here, number))]
    return [here]


@given(payloads)
def test_every_leaf_of_a_small_sample_can_be_mapped(payload: dict[str, Any]) -> None:
    listed = {path for path, _ in paths_of(payload)}

    assert {str(Path(leaf)) for leaf in leaves_of(payload)} <= listed or len(listed) == MOST_FIELDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("items[0].sku", ("items", 0, "sku")),
        ("items[*].tags[*]", ("items", Every.ENTRY, "tags", Every.ENTRY)),
        ('["a.b"].c', ("a.b", "c")),
        ('a["b c"][1]', ("a", "b c", 1)),
        ('a["\\u00e9\\"]"]', ("a", 'é"]')),
        ('[""]', ("",)),
        ("Ünïcode.ключ", ("Ünïcode", "ключ")),
        ("$schema.@type.#.x-y:z/1", ("$schema", "@type", "#", "x-y:z/1")),
    ],
)
def test_paths_are_read_as_people_write_them(text: str, expected: tuple[Any, ...]) -> None:
    assert tuple(parse_path(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (".", "has no key at character 1"),
        ("a.", "has no key at character 3"),
        ("a..b", "has no key at character 3"),
        ("a b", "needs a dot at character 2"),
        ("a]", "needs a dot at character 2"),
        ('a"b', "needs a dot at character 2"),
        ("a[0]b", "needs a dot at character 5"),
        ("a[", "has a bracket at character 2 without an index"),
        ("a[]", "has a bracket at character 2"),
        ("a[-1]", "has a bracket at character 2"),
        ("a[01]", "has a bracket at character 2"),
        ("a[1000000]", "has a bracket at character 2"),
        ("a['b']", "has a bracket at character 2"),
        ("a[b]", "has a bracket at character 2"),
        ('a["b', "has a bracket at character 2"),
        ('a["\\x"]', "has a key in quotes at character 3 that is not a JSON string"),
        ('a["\\ud800"]', "has a key in quotes at character 3"),
        ("[0].a", "must begin with a key, as a payload is an object"),
        ("[*].a", "must begin with a key"),
        ("a" * (LONGEST_PATH + 1), "is longer than 512 characters"),
        (".".join("a" * (MOST_STEPS + 1)), "has more than 64 steps"),
    ],
)
def test_what_is_no_path_is_refused_with_what_to_write(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r"^(has|is|needs|must) ") as caught:
        parse_path(text)

    assert expected in str(caught.value)


@given(st.text(alphabet='ab.[]*"\\0 ', max_size=20))
def test_a_text_is_a_path_or_refused_in_words(text: str) -> None:
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert parse_path(str(path)) == path


def test_all_entries_come_in_order_and_those_without_the_field_are_left_out() -> None:
    payload = {"items": [{"sku": "a"}, {}, {"sku": None}, 5, {"sku": ["b"]}]}

    assert pick(payload, parse_path("items[*].sku")) == ["a", None, ["b"]]


def test_lists_in_lists_become_one_list() -> None:
    payload = {"orders": [{"items": [{"sku": "a"}, {"sku": "b"}]}, {"items": []}, {"items": [{"sku": "c"}]}]}

    assert pick(payload, parse_path("orders[*].items[*].sku")) == ["a", "b", "c"]


def test_an_empty_list_has_no_entries_and_is_not_missing() -> None:
    assert pick({"items": []}, parse_path("items[*].sku")) == []
    assert pick({"items": {}}, parse_path("items[*].sku")) is MISSING
    assert pick({}, parse_path("items[*].sku")) is MISSING


def test_null_is_a_value_and_not_missing() -> None:
    assert pick({"a": None}, parse_path("a")) is None


@pytest.mark.parametrize("payload", [{"a": "text"}, {"a": 5}, {"a": {"0": "x"}}, {"a": {}}])
def test_an_index_leads_into_lists_only(payload: dict[str, Any]) -> None:
    assert pick(payload, parse_path("a[0]")) is MISSING


def test_the_fields_of_a_sample_come_in_its_order_with_all_entries_before_each() -> None:
    sample = {"user": {"id": 7, "e.mail": "a@b"}, "items": [{"sku": "x"}, {"sku": "y", "n": 2}]}

    assert [path for path, _ in paths_of(sample)] == [
        "user",
        "user.id",
        'user["e.mail"]',
        "items",
        "items[*].sku",
        "items[*].n",
        "items[0]",
        "items[0].sku",
        "items[1]",
        "items[1].sku",
        "items[1].n",
    ]


def test_a_long_list_is_listed_entry_by_entry_at_its_beginning_only() -> None:
    listed = [path for path, _ in paths_of({"a": list(range(1000))})]

    assert listed == ["a", *(f"a[{number}]" for number in range(MOST_ENTRIES))]


def nested(opening: str, inner: str, closing: str, depth: int) -> Any:
    return json.loads(opening * depth + inner + closing * depth)


@pytest.mark.parametrize(
    "sample",
    [
        {"a": nested("[", "1", "]", 60)},
        {"a": nested('{"a":', "1", "}", 60)},
        {"a": nested('[{"a":', "1", "}]", 30)},
        {"k" * 10_000: {"a": 1}},
        {"a": [[[list(range(20)) for _ in range(20)] for _ in range(20)] for _ in range(4)]},
        {str(number): number for number in range(30_000)},
    ],
    ids=["lists", "objects", "lists of objects", "a long key", "a wide list", "many keys"],
)
def test_a_hostile_sample_is_listed_in_bounds(sample: dict[str, Any]) -> None:
    listed = paths_of(sample)

    assert len(listed) <= MOST_FIELDS
    assert all(len(path) <= LONGEST_PATH and len(parse_path(path)) <= MOST_STEPS for path, _ in listed)


@pytest.mark.parametrize("sample", [None, [], [{"a": 1}], "text", 5])
def test_what_is_no_object_has_no_fields(sample: Any) -> None:
    assert paths_of(sample) == []
