"""The directory over several partitions comes to rest in one state, and forgets whom it is to forget."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.users.identifiers import By, is_anonymous, key_of_anonymous, key_of_user
from pipeline.users.model import Device, outranks
from pipeline.users.rows import PROOFS, Proof, decode_row, proof_of
from pipeline.users.updates import DeleteUser, Seen, TrackUser
from tests.support.user_partitions import PARTITIONS, Partitions

APP = "32E5A-9B411"
HOUR_US = 3600 * 1_000_000
BEGAN_US = 1_700_000_000_000_000
ACTOR = ("ada", "admin", "127.0.0.1")

user_ids = st.sampled_from(["u1", "u2", "u3"])
hwids = st.sampled_from(["H1", "H2", "H3"])
emails = st.sampled_from(["a@x.example", "b@x.example"])
phones = st.sampled_from(["+15550001", "+15550002"])


@st.composite
def sightings(draw, *, most=8, with_time=True):
    """Tracked and seen, each at its own time, at least an hour apart, in any order."""
    count = draw(st.integers(1, most))
    times = draw(st.permutations(range(count))) if with_time else range(count)
    made = []
    for number in times:
        kind = draw(st.sampled_from([TrackUser, Seen]))
        named = {
            "user_id": draw(st.none() | user_ids),
            "hwid": draw(st.none() | hwids),
            "email": draw(st.none() | emails),
            "phone": draw(st.none() | phones),
        }
        if not any(named.values()):
            named["hwid"] = "H1"
        made.append(kind(application=APP, at_us=BEGAN_US + (1 + number) * HOUR_US, **named))
    return made


def deletion(key, at_us=BEGAN_US + 1000 * HOUR_US, request_id="r1"):
    return DeleteUser(application=APP, key=key, at_us=at_us, request_id=request_id, actor=ACTOR)


def track(at=1, **named):
    return TrackUser(application=APP, at_us=BEGAN_US + at * HOUR_US, **named)


def seen(at=1, **named):
    return Seen(application=APP, at_us=BEGAN_US + at * HOUR_US, **named)


@given(sightings(), st.integers())
def test_each_identifier_names_one_user_who_has_it_whatever_the_order(updates, seed):
    partitions = Partitions(seed)
    partitions.tell(*updates)
    partitions.settle()
    partitions.check()


@given(sightings(), st.integers())
def test_the_same_holds_where_partitions_die_between_what_they_tell_and_what_they_store(updates, seed):
    partitions = Partitions(seed)
    partitions.tell(*updates)
    partitions.settle(dies=0.2)
    partitions.check()


@given(sightings(), st.integers())
def test_a_device_is_the_one_users_with_whom_it_was_seen_last(updates, seed):
    updates = [each for each in updates if each.user_id and each.hwid]
    partitions = Partitions(seed)
    partitions.tell(*updates)
    partitions.settle()

    last = {}
    for each in updates:
        if each.hwid not in last or outranks(each.own_key, each.at_us, *last[each.hwid]):
            last[each.hwid] = each.own_key, each.at_us
    owners = {name: link.owner for (by, name), link in partitions.links().items() if by is By.HWID}
    assert owners == {hwid: owner for hwid, (owner, _) in last.items()}


@given(sightings(most=6), st.integers(), st.integers())
def test_whose_a_device_is_does_not_depend_on_the_order_of_arrival(updates, one, other):
    updates = [each for each in updates if each.user_id and each.hwid]
    states = []
    for seed, order in ((one, updates), (other, updates[::-1])):
        partitions = Partitions(seed)
        partitions.tell(*order)
        partitions.settle()
        states.append({name: link.owner for (by, name), link in partitions.links().items() if by is By.HWID})
    assert states[0] == states[1]


@given(sightings(), user_ids, st.integers(), st.booleans())
def test_deleting_a_user_removes_all_that_named_it(updates, user_id, seed, crashes):
    partitions = Partitions(seed)
    partitions.tell(*updates)
    partitions.settle()
    key = key_of_user(user_id)
    before = [user for user in partitions.users() if user.key == key]
    partitions.tell(deletion(key))
    partitions.settle(dies=0.2 if crashes else 0.0)
    partitions.check()

    assert not [user for user in partitions.users() if user.key == key]
    names = [user_id, *(value for user in before for _, value in user.identifiers())]
    others = "".join(map(str, partitions.users()))
    for table in partitions.tables:
        for row, value in table.items():
            text = row.decode() + value.decode()
            assert not [name for name in names if name in text and name not in others], row
    [proof] = [
        decode_row(Proof, value)
        for table in partitions.tables
        for row, value in table.items()
        if row.startswith(PROOFS)
    ]
    assert not proof.waiting
    assert proof.was_known is bool(before)
    assert proof_of("r1", APP, "user_id", user_id) in proof.identifiers
    assert len(proof.identifiers) == 1 + sum(len(user.identifiers()) for user in before)


@given(sightings(), user_ids, st.integers())
def test_events_from_before_a_deletion_do_not_bring_the_user_back(updates, user_id, seed):
    partitions = Partitions(seed)
    partitions.tell(*updates)
    partitions.settle()
    partitions.tell(deletion(key_of_user(user_id)))
    partitions.settle()
    partitions.tell(*(each for each in updates if isinstance(each, Seen) and each.user_id == user_id))
    partitions.settle()
    assert not [user for user in partitions.users() if user.user_id == user_id]


def test_a_user_who_is_tracked_after_a_deletion_is_there_again_even_by_a_clock_that_is_behind():
    partitions = Partitions()
    partitions.tell(track(user_id="u1", hwid="H1"))
    partitions.settle()
    partitions.tell(deletion("u1", at_us=BEGAN_US + 10 * HOUR_US))
    partitions.settle()
    partitions.tell(track(at=9, user_id="u1", hwid="H1"))
    partitions.settle()
    partitions.check()
    assert partitions.user("u1").devices


@given(seed=st.integers(0, 10**6))
def test_what_was_on_its_way_to_a_deleted_user_is_not_given_to_who_is_tracked_after(seed):
    partitions = Partitions(seed)
    partitions.tell(track(hwid="H1", attributes={"City": "Bonn"}))
    partitions.settle()
    partitions.tell(track(at=1, user_id="u1", hwid="H1"), deletion("u1", at_us=BEGAN_US + 2 * HOUR_US))
    partitions.tell(track(at=3, user_id="u1", email="a@x.example"))
    partitions.settle()
    partitions.check()
    assert (partitions.user("u1").tags, partitions.user("u1").devices) == ({}, {})


def test_a_deletion_that_is_read_twice_is_one():
    partitions = Partitions()
    partitions.tell(track(user_id="u1"), deletion("u1"), deletion("u1"))
    partitions.settle()
    [proof] = [value for table in partitions.tables for key, value in table.items() if key.startswith(PROOFS)]
    assert decode_row(Proof, proof).was_known


def test_a_user_stays_deleted_where_all_is_read_again_after_a_crash():
    partitions = Partitions()
    told = (track(user_id="u1", hwid="H1", attributes={"City": "Bonn"}), deletion("u1"))
    for _ in range(2):
        partitions.tell(*told)
        partitions.settle()
        partitions.check()
        assert not partitions.users()
        assert not partitions.links()
    [proof] = [value for table in partitions.tables for key, value in table.items() if key.startswith(PROOFS)]
    assert decode_row(Proof, proof).was_known


def test_what_is_let_go_of_for_one_who_is_gone_is_not_taken_from_who_came_after():
    for seed in range(300):
        partitions = Partitions(seed)
        partitions.tell(
            seen(hwid="H1", email="b@x.example"),
            track(at=1, user_id="u2", hwid="H1", email="a@x.example"),
            deletion("u2", at_us=BEGAN_US + 2 * HOUR_US),
            track(at=3, hwid="H1", email="a@x.example"),
        )
        partitions.settle()
        partitions.check()


def test_an_anonymous_user_joins_the_one_with_whom_the_device_is_seen():
    partitions = Partitions()
    partitions.tell(
        track(hwid="H1", attributes={"City": "Bonn"}, device=Device(platform="iOS", model="Phone 1")),
        track(at=2, hwid="H1", email="a@x.example"),
    )
    partitions.settle()
    assert [user.key for user in partitions.users()] == [key_of_anonymous("H1")]

    partitions.tell(track(at=3, user_id="u1", hwid="H1"))
    partitions.settle()
    partitions.check()
    [user] = partitions.users()
    assert (user.key, user.email, user.tags) == ("u1", "a@x.example", {"City": "Bonn"})
    assert user.devices["H1"].model == "Phone 1"
    assert user.created_at_us == BEGAN_US + HOUR_US


def test_what_is_told_of_a_device_alone_reaches_the_user_it_belongs_to():
    partitions = Partitions()
    partitions.tell(track(user_id="u1", hwid="H1"))
    partitions.settle()
    partitions.tell(track(at=2, hwid="H1", attributes={"City": "Bonn"}))
    partitions.settle()
    [user] = partitions.users()
    assert user.tags == {"City": "Bonn"}


def test_a_device_that_moves_takes_what_is_known_of_it_along():
    partitions = Partitions()
    partitions.tell(track(user_id="u1", hwid="H1", device=Device(model="Phone 1", platform="iOS")))
    partitions.settle()
    partitions.tell(track(at=2, user_id="u2", hwid="H1", device=Device(os_version="17")))
    partitions.settle()
    partitions.check()
    assert not partitions.user("u1").devices
    device = partitions.user("u2").devices["H1"]
    assert (device.model, device.os_version) == ("Phone 1", "17")


def test_a_late_event_does_not_take_a_device_back():
    partitions = Partitions()
    partitions.tell(track(at=5, user_id="u2", hwid="H1"))
    partitions.settle()
    partitions.tell(seen(at=1, user_id="u1", hwid="H1"))
    partitions.settle()
    partitions.check()
    assert "H1" in partitions.user("u2").devices


def test_a_new_email_address_takes_the_place_of_the_old_one():
    partitions = Partitions()
    partitions.tell(track(user_id="u1", email="a@x.example"), track(at=2, user_id="u1", email="B@X.example "))
    partitions.settle()
    partitions.check()
    assert set(partitions.links()) == {(By.EMAIL, "b@x.example")}


def test_a_user_id_that_looks_like_an_anonymous_key_is_none():
    partitions = Partitions()
    partitions.tell(track(user_id="@H1", email="a@x.example"), track(hwid="H1"))
    partitions.settle()
    partitions.check()
    assert sorted(is_anonymous(user.key) for user in partitions.users()) == [False, True]


def test_more_devices_than_a_user_keeps_push_out_those_seen_longest_ago():
    partitions = Partitions()
    for number in range(105):
        partitions.tell(track(at=number, user_id="u1", hwid=f"D{number}"))
        partitions.settle()
    partitions.check()
    assert set(partitions.user("u1").devices) == {f"D{number}" for number in range(5, 105)}


def test_seeing_the_same_again_within_the_hour_writes_nothing():
    partitions = Partitions()
    partitions.tell(seen(at=1, user_id="u1", hwid="H1"))
    partitions.settle()
    before, told = [dict(table) for table in partitions.tables], partitions.told
    partitions.tell(
        seen(at=1.5, user_id="u1", hwid="H1").__class__(
            application=APP, at_us=BEGAN_US + HOUR_US * 3 // 2, user_id="u1", hwid="H1"
        )
    )
    partitions.settle()
    assert (partitions.tables, partitions.told) == (before, told + 1)


def test_unknown_attributes_are_kept_apart_and_null_removes_one():
    partitions = Partitions(tags=("City",))
    partitions.tell(
        track(user_id="u1", attributes={"City": "Bonn", "Shoe": 42}),
        track(at=2, user_id="u1", attributes={"Shoe": None, "Hat": [1, 2], "long": "x" * 5000}),
    )
    partitions.settle()
    user = partitions.user("u1")
    assert (user.tags, user.other_tags) == ({"City": "Bonn"}, {"Hat": [1, 2]})


@given(st.lists(st.tuples(user_ids, hwids), min_size=1, max_size=20), st.integers())
def test_rows_lie_on_the_partition_that_looks_for_them(pairs, seed):
    partitions = Partitions(seed)
    for number, (user_id, hwid) in enumerate(pairs):
        partitions.tell(track(at=number, user_id=user_id, hwid=hwid))
    partitions.settle()
    for user_id, number in itertools.product({user for user, _ in pairs}, range(PARTITIONS)):
        found = partitions.stages[number].user(APP, user_id)
        assert found is None or found.user_id == user_id
    assert {user.user_id for user in partitions.users()} == {user for user, _ in pairs}
