import hashlib
import sys

import pytest

from pipeline.errors import LocalServerError
from pipeline.local import jars
from pipeline.local.jars import KAFKA_VERSION, LOCK, LockedJar, cache_folder, kafka_jars, read_lock

DIGEST = "0" * 64


def test_the_shipped_lock_has_all_of_kafka_in_one_version():
    shipped = read_lock(LOCK.read_text())
    kafka = {jar.artifact: jar.version for jar in shipped if jar.group == "org.apache.kafka"}
    assert {"kafka_2.13", "kafka-clients", "kafka-server", "kafka-storage", "kafka-raft"} <= set(kafka)
    assert set(kafka.values()) == {KAFKA_VERSION}
    assert len({jar.file_name for jar in shipped}) == len(shipped) > 40


def test_comments_and_empty_lines_of_a_lock_are_skipped():
    text = f"# heading\n\norg.example:thing:1.0 {DIGEST} # why\n"
    assert read_lock(text) == [LockedJar("org.example", "thing", "1.0", DIGEST)]


@pytest.mark.parametrize("line", ["org.example:thing:1.0", f"thing:1.0 {DIGEST}", "org.example:thing:1.0 abc"])
def test_a_line_of_another_form_is_named(line):
    with pytest.raises(LocalServerError, match=r"kafka-jars\.lock:2: "):
        read_lock(f"# heading\n{line}\n")


def test_another_version_of_a_part_of_kafka_is_refused():
    with pytest.raises(LocalServerError, match=r"kafka-clients has version 3\.8\.0"):
        read_lock(f"org.apache.kafka:kafka-clients:3.8.0 {DIGEST}")


def test_a_damaged_or_missing_jar_is_noticed(tmp_path):
    jar = LockedJar("org.example", "thing", "1.0", hashlib.sha256(b"whole").hexdigest())
    assert not jar.is_in(tmp_path)
    (tmp_path / "thing-1.0.jar").write_bytes(b"who")
    assert not jar.is_in(tmp_path)
    (tmp_path / "thing-1.0.jar").write_bytes(b"whole")
    assert jar.is_in(tmp_path)


def fetcher(monkeypatch, tmp_path, code: str, *names: str) -> None:
    """Let a small script stand for the process that talks to the network, and the lock name ``names``."""
    script = tmp_path / "fetcher"
    script.write_text(
        f"#!{sys.executable} -IS\nimport os, pathlib, sys, time\nfolder = pathlib.Path(sys.argv[4])\n{code}"
    )
    script.chmod(0o700)
    lock = tmp_path / "lock-file"
    lock.write_text("".join(f"org.example:{name}:1.0 {hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr(jars.sys, "executable", str(script))


WRITE_ALL = """
folder.mkdir(parents=True, exist_ok=True)
for coordinate in sys.argv[5:]:
    name = coordinate.split(":")[1]
    jar = folder / f"{name}-1.0.jar"
    jar.write_text(name)
    print("jar", jar, flush=True)
"""


def test_only_what_is_missing_is_fetched_and_kept(monkeypatch, tmp_path):
    fetcher(monkeypatch, tmp_path, WRITE_ALL, "one", "two")
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "one-1.0.jar").write_text("one")
    told = []
    assert kafka_jars(told.append, folder=folder) == [folder / "one-1.0.jar", folder / "two-1.0.jar"]
    assert (folder / "two-1.0.jar").read_text() == "two"
    assert told == [f"fetching Apache Kafka {KAFKA_VERSION}: 1 jars, once per user account", "fetched 1 of 1 jars"]
    kafka_jars(told.append, folder=folder)
    assert len(told) == 2


def test_a_fetched_jar_of_another_content_is_not_used(monkeypatch, tmp_path):
    fetcher(monkeypatch, tmp_path, WRITE_ALL.replace("write_text(name)", "write_text('evil')"), "one")
    with pytest.raises(LocalServerError, match=r"one-1\.0\.jar: .*SHA-256"):
        kafka_jars(lambda _: None, folder=tmp_path / "jars")
    assert not list((tmp_path / "jars").glob("*.jar"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('error gaierror: name not known'); sys.exit(1)", "gaierror: name not known"),
        ("sys.exit(3)", "the fetching process ended with 3"),
        ("time.sleep(60)", r"nothing came for 0\.2 s"),
    ],
)
def test_jars_that_cannot_be_had_are_one_line_with_the_way_out(monkeypatch, tmp_path, code, reason):
    fetcher(monkeypatch, tmp_path, code, "one")
    monkeypatch.setattr(jars, "STALL_S", 0.2)
    with pytest.raises(LocalServerError, match=reason) as caught:
        kafka_jars(lambda _: None, folder=tmp_path / "jars")
    assert "KAFKA_BROKERS=host:port" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_line_with_the_way_out(monkeypatch, tmp_path):
    fetcher(monkeypatch, tmp_path, WRITE_ALL, "one")
    (tmp_path / "file").touch()
    with pytest.raises(LocalServerError, match="set XDG_CACHE_HOME, or set KAFKA_BROKERS=host:port"):
        kafka_jars(lambda _: None, folder=tmp_path / "file" / "jars")


def test_jars_are_kept_per_user_account(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "distributary"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "distributary"
    monkeypatch.setenv("HOME", "")
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "distributary"
