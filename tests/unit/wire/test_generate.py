"""The code in pipeline/wire and the proto that it is made from."""

import shutil
from pathlib import Path

import pytest

from pipeline.wire import generate

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / generate.SOURCES, tmp_path / "proto")


def edit(sources: Path, old: str, new: str) -> None:
    file = sources / generate.PROTOS[0]
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_code_means_what_the_proto_says(sources: Path) -> None:
    assert generate.outdated(sources) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string message = 3;", "string message = 4;"),
        ("string message = 3;", "bytes message = 3;"),
        ("Success = 1;", "Succeeded = 1;"),
        ("optional string hwid", "string hwid"),
        ("rpc Deliver(stream DeliverRequest)", "rpc Deliver(DeliverRequest)"),
    ],
)
def test_a_changed_proto_is_noticed(sources: Path, old: str, new: str) -> None:
    edit(sources, old, new)
    assert generate.outdated(sources) == list(generate.PROTOS)


def test_a_changed_comment_is_no_change(sources: Path) -> None:
    edit(sources, "// Takes events.", "// Takes events, as ever.")
    assert generate.outdated(sources) == []


def test_a_file_that_cannot_be_compiled_is_an_error(sources: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(sources, "string message = 3;", "strong message = 3;")
    with pytest.raises(generate.ProtoError):
        generate.outdated(sources)
    assert '"strong" is not defined' in capfd.readouterr().err


def test_the_code_can_be_made_anew(sources: Path, tmp_path: Path) -> None:
    generate.generate(sources, tmp_path)
    made = sorted(path.name for path in tmp_path.rglob("event_stream_pb2*"))
    assert made == ["event_stream_pb2.py", "event_stream_pb2.pyi"]
