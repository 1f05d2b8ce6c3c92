"""Makes the code in ``pipeline/wire`` from ``proto/``: ``python -m pipeline.wire.generate [--check]``."""

import argparse
import importlib
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

SOURCES: Final = Path("proto")
TARGET: Final = Path("pipeline/wire")
PROTOS: Final = ("distributary/eventstream/v1/event_stream.proto",)


class ProtoError(Exception):
    """The compiler refuses a file; it has said why on standard error."""


def generate(sources: Path = SOURCES, target: Path = TARGET) -> None:
    """Write the modules, and the stubs that type checkers read, below ``target``. Raises ``ProtoError``."""
    _compile(sources, f"--python_out={target}", f"--pyi_out={target}")


def outdated(sources: Path = SOURCES) -> list[str]:
    """The files of ``sources`` that mean something else than the code that was made from them.

    Meanings are compared, not texts: compilers of different versions write different code. Raises ``ProtoError``.
    """
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "set"
        _compile(sources, f"--descriptor_set_out={compiled}")
        meant = FileDescriptorSet.FromString(compiled.read_bytes())
    return [file.name for file in meant.file if _without_json_names(file) != _made(file.name)]


def _compile(sources: Path, *outputs: str) -> None:
    well_known = files("grpc_tools") / "_proto"
    if protoc.main(["protoc", f"-I{sources}", f"-I{well_known}", *outputs, *PROTOS]) != 0:
        raise ProtoError


def _made(name: str) -> FileDescriptorProto | None:
    """What the generated module of the file ``name`` means; ``None`` where there is no module."""
    path = name.removesuffix(".proto").replace("/", ".")
    try:
        module = importlib.import_module(f"pipeline.wire.{path}_pb2")
    except ModuleNotFoundError:
        return None
    return _without_json_names(FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))


def _without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    """``file`` without what one output of the compiler has and the other leaves to be derived."""
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file


def main(arguments: list[str] | None = None) -> int:
    """Write the code, or with ``--check`` say whether it is up to date (exit status 1 where it is not)."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.wire.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the code is out of date")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            generate()
            return 0
        names = outdated()
    except ProtoError:
        return 1
    for name in names:
        sys.stderr.write(f"{TARGET} does not mean what {SOURCES}/{name} says; run make proto\n")
    return 1 if names else 0


if __name__ == "__main__":
    raise SystemExit(main())
