"""What the pages name is there: files, folders, links, headings, functions, make targets, commands."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import typer

from keyweave.cli.words import command_line

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PRODUCT = (ROOT / "controller", ROOT / "agents", ROOT / "common")

# A name of a source file or of one of our folders; what a running network writes has other endings.
_FILE = re.compile(r"[\w./*-]+\.(?:py|pyi|proto|md|svg|toml|binpb)|(?:[\w.-]+/)+")
_WRITTEN_BY_A_NETWORK = {"pki/", "logs/"}
_WRITTEN_BY_PKI = {"trust/", "private/", "issued/", "tokens/", "service/", "current/"}
_EXAMPLE = re.compile(r"```.*?```", flags=re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE_WITH_NAMES = re.compile(r"`([\w./-]+\.py)` \(((?:`[\w.]+`(?:, )?)+)\)")


@cache
def tree() -> frozenset[str]:
    """Every file of the repository and every folder (with a slash behind), as git or the disk has it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines() or [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
    folders = {f"{parent.as_posix()}/" for name in listed for parent in Path(name).parents}
    return frozenset(listed) | folders


def named(text: str) -> list[str]:
    """The files and folders that a page puts between backticks, outside its examples."""
    spans = re.findall(r"`([^`\n]+)`", _EXAMPLE.sub("", text))
    return [
        span
        for span in spans
        if _FILE.fullmatch(span) and span not in _WRITTEN_BY_A_NETWORK | _WRITTEN_BY_PKI
    ]


def commands(text: str, program: str) -> list[str]:
    """What follows the program's name wherever a page calls it, in a line or in an example."""
    inline = re.findall(rf"`{program} ([^`\n]+)`", _EXAMPLE.sub("", text))
    examples = "\n".join(_EXAMPLE.findall(text))
    return inline + re.findall(rf"^{program} (.+)$", examples, flags=re.MULTILINE)


def is_there(name: str) -> bool:
    """Whether a file or folder ends in this name, part by part."""
    pattern = re.compile(r"(?:.*/)?" + re.escape(name).replace(r"\*", "[^/]*"))
    return any(map(pattern.fullmatch, tree()))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def test_every_file_and_folder_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in named(page.read_text()) if not is_there(name)] == []


def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_function_and_class_that_a_page_puts_behind_a_file_is_defined_there(page: Path) -> None:
    lost = []
    for name, definitions in _FILE_WITH_NAMES.findall(page.read_text()):
        files = [ROOT / each for each in tree() if f"/{each}".endswith(f"/{name}")]
        text = "\n".join(file.read_text() for file in files)
        lost += [
            f"{name}: {each}"
            for each in re.findall(r"`(?:\w+\.)*(\w+)`", definitions)
            if not re.search(rf"(?:def|class) {each}\b", text)
        ]
    assert lost == []


def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command.split()[0] for command in commands(page.read_text(), "make")} <= targets


def test_every_command_that_a_page_names_exists(page: Path) -> None:
    root = typer.main.get_command(command_line())
    groups = {name: set(getattr(one, "commands", {})) for name, one in getattr(root, "commands", {}).items()}
    lost = []
    for command in commands(page.read_text(), "keyweave"):
        nouns, verbs = [*command.split(), "", ""][:2]
        for noun in nouns.split("|"):
            known = groups.get(noun)
            told = set(verbs.split("|")) if verbs and not verbs.startswith("-") else set()
            if known is None or (known and not told <= known):
                lost.append(command)
    assert lost == []


def test_every_page_that_the_code_names_exists() -> None:
    lost = set()
    for folder in (*PRODUCT, ROOT / "proto" / "keyweave", ROOT / "tests"):
        for file in (*folder.rglob("*.py"), *folder.rglob("*.proto")):
            lost |= {
                f"{file.relative_to(ROOT)}: {name}"
                for name in re.findall(r"\bdocs/[\w/-]+\.\w+", file.read_text())
                if not (ROOT / name).exists()
            }
    assert lost == set()


def test_the_architecture_names_every_file_of_controller_and_agent() -> None:
    told = set(named((ROOT / "docs" / "architecture.md").read_text()))
    as_a_whole = {"routing/", "drivers/", "ledger/", "etsi014/", "migrations/", "versions/"}
    untold = [
        file.relative_to(ROOT).as_posix()
        for folder in ("controller/keyweave/controller", "agents/keyweave/agent")
        for file in (ROOT / folder).rglob("*.py")
        if not file.name.startswith("__")
        and f"{file.parent.name}/" not in as_a_whole
        and not any(f"/{file.as_posix()}".endswith(f"/{name}") for name in told)
    ]
    assert untold == []


def test_the_list_of_decisions_is_complete() -> None:
    told = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text())
    assert told == sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
