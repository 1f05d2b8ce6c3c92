"""The documentation names everything that there is, leads somewhere, and gives nothing away."""

import importlib
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from google.protobuf import text_format

from pipeline.config.describe import keys_of, sections_of
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.metrics import CATALOGUE
from pipeline.model.integration import Integration
from pipeline.sinks.registry import SINKS
from tests.docs import golden

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = {".git", ".venv", ".distributary", "__pycache__", "dist", "node_modules"}
SINK_HEADINGS = {"Settings", "What arrives", "Checking what comes", "Trying it"}
"""What the page of every sink has."""

BINARY = {".png", ".ico", ".woff2", ".gz"}


@cache
def shipped() -> tuple[Path, ...]:
    """All files of a checkout, tracked or about to be; a tree without git gives what it holds."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = list(ROOT.rglob("*"))
    return tuple(
        path
        for path in paths
        if path.is_file()
        and not any(
            part in NOT_SHIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1] if part != ".ci"
        )
        and path.suffix not in BINARY
    )


def pages() -> list[Path]:
    return [path for path in shipped() if path.suffix == ".md"]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(page: str) -> set[str]:
    """Headings of a page of docs/, without marks."""
    text = without_code((ROOT / "docs" / page).read_text(encoding="utf-8"))
    return {line.strip().replace("`", "") for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def anchor(heading: str) -> str:
    """The fragment that a heading gets where Markdown is shown."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "")).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def in_language(language: str, page: str) -> list[str]:
    """The blocks of code in a language on a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def settings_of(section, prefix: str = "") -> set[str]:
    """Dotted names of all keys, as the page writes them."""
    names = set()
    for key, attribute in keys_of(section).items():
        field = section.model_fields[attribute]
        inner = sections_of(field)
        if key == "integrations":
            for spec in SINKS:
                names |= settings_of(spec.settings, "integrations[].")
        elif inner:
            for each in inner:
                names |= settings_of(each, f"{prefix}{key}.")
        else:
            names.add(prefix + key)
    return names


def test_every_setting_has_its_heading():
    expected = settings_of(Settings)
    assert {"topic", "outbound.allow_http", "integrations[].batch.max_age"} <= expected
    assert expected - headings("configuration.md") == set()


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_every_sink_has_its_heading(spec):
    assert {spec.kind, *SINK_HEADINGS} - headings(f"sinks/{spec.kind}.md") == set()
    assert f"](sinks/{spec.kind}.md)" in (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    assert f"integrations of kind {spec.kind}" in headings("configuration.md")


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_the_page_of_a_sink_names_every_setting_that_is_its_own(spec):
    text = (ROOT / "docs" / "sinks" / f"{spec.kind}.md").read_text(encoding="utf-8")
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    common = Integration.model_fields
    for key, attribute in keys_of(spec.settings).items():
        field = spec.settings.model_fields[attribute]
        is_own = attribute not in common or field.annotation != common[attribute].annotation
        if is_own and key != "kind":
            assert f"`{key}`" in table, key


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_the_example_configuration_of_a_sink_is_one(spec, monkeypatch, tmp_path):
    for name in ("CRM_TOKEN", "WAREHOUSE_TOKEN", "SEGMENT_WRITE_KEY", "XP_SECRET"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.setenv("CRM_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    example = in_language("yaml", f"sinks/{spec.kind}.md")[0]
    file = tmp_path / "faust.yml"
    file.write_text(f"integrations:\n{textwrap.indent(example, '  ')}", encoding="utf-8")
    settings = load(file)
    assert [integration.kind for integration in settings.integrations] == [spec.kind]


@pytest.mark.parametrize("kind", ["http", "email", "xtremepush", "segment"])
async def test_the_request_that_the_page_of_a_sink_shows_is_what_it_sends(kind):
    assert in_language("http", f"sinks/{kind}.md") == [await golden.request_of(kind) + "\n"]


async def test_the_stream_that_the_page_of_grpc_shows_is_what_it_sends():
    metadata, request = await golden.stream_of()
    assert in_language("text", "sinks/grpc.md") == ["".join(f"{line}\n" for line in metadata)]
    (shown,) = in_language("textproto", "sinks/grpc.md")
    assert text_format.Parse(shown, type(request)()) == request


def test_there_is_a_receiver_to_copy_for_every_sink_and_its_page_names_it():
    for spec in SINKS:
        name = "segment_double" if spec.kind == "segment" else f"{spec.kind}_receiver"
        assert (ROOT / "examples" / "receivers" / f"{name}.py").is_file()
        assert f"{name}.py" in (ROOT / "docs" / "sinks" / f"{spec.kind}.md").read_text(encoding="utf-8")


def test_every_metric_has_its_heading_and_no_other_is_documented():
    documented = {heading for heading in headings("metrics.md") if heading.startswith("distributary_")}
    assert documented == {metric.full_name for metric in CATALOGUE}


def test_every_metric_that_the_pages_name_exists():
    names = {metric.full_name for metric in CATALOGUE}
    parts = names | {f"{metric.full_name}_{part}" for metric in CATALOGUE for part in ("bucket", "sum", "count")}
    for page in pages():
        found = set(re.findall(r"\bdistributary_[a-z_]+\b", page.read_text(encoding="utf-8")))
        assert found - parts == set(), page.relative_to(ROOT)


def test_every_command_has_its_heading_and_no_other_is_documented():
    group = importlib.import_module("agents.commands").cli
    own = {
        name for name, command in group.commands.items() if (command.callback.__module__ or "").startswith("agents")
    } | {"worker"}
    documented = {heading.removeprefix("distributary ") for heading in headings("commands.md") if heading != "Commands"}
    assert documented == own


def test_the_first_commands_of_the_readme_are_demo_and_test():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [
        line
        for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    assert commands[:2] == ["make demo", "make test"]


def test_make_has_every_target_that_is_written_about():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [*pages(), ROOT / ".ci" / "run"]:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^|step )make (?:--[a-z-]+ )?([a-z]+)", text, re.MULTILINE))
        assert named - targets == set(), page.relative_to(ROOT)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = without_code(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = unquote(target).partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{target} does not exist"
        assert goal.is_relative_to(ROOT), f"{target} leads out of the project"
        if fragment:
            found = re.findall(r"^#+ (.+)$", without_code(goal.read_text(encoding="utf-8")), re.MULTILINE)
            assert fragment in {anchor(heading) for heading in found}, f"{target}: no such heading"


def test_every_page_can_be_reached_from_the_readme():
    reached, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        to_read.extend((page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link))
    assert set(pages()) - reached == set()


GENERATED = ["pipeline.metrics", "pipeline.config.reference", "agents.asyncapi", "agents.view.sql_reference"]


@pytest.mark.parametrize("module", GENERATED)
def test_generated_pages_are_up_to_date(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or done.stdout


def test_every_page_of_the_view_that_the_navigation_names_is_described():
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "agents/view").rglob("*.py")))
    paths = re.findall(r"""\.page\(\s*"(/[^"]*)",[^()]*(?:\([^()]*\)[^()]*)*nav=""", code)
    assert len(paths) > 10
    described = (ROOT / "docs/view.md").read_text(encoding="utf-8")
    assert [path for path in paths if f"`{path}`" not in described] == []


def test_the_example_configuration_names_every_top_level_setting():
    text = (ROOT / "faust.yml").read_text(encoding="utf-8")
    for key in keys_of(Settings):
        assert re.search(rf"^(# )?{key}:", text, re.MULTILINE), key


# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:" + "|".join(["ho" + "me", "ro" + "ot", "wo" + "rk", "Us" + "ers"]) + r")/[\w.]"
)
REGISTRY_HOST = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            "files.python" + "hosted",
            r"repo\d*\." + "maven",
            "maven.apache" + r"\.org",
            r"registry\." + "npmjs",
            r"proxy\." + "golang",
            r"deb\." + "debian",
            r"crates\." + "io",
        ]
    )
)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_no_file_tells_where_it_was_made(pattern):
    found = []
    for path in shipped():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_search_for_machine_paths_finds_one():
    assert MACHINE_PATH.search("see /" + "home/someone/file")
    assert not MACHINE_PATH.search("GET https://crm.example/" + "home/page")
