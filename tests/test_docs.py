"""The documentation says what holds: codes, fields, verbs, options, settings, links, examples and commands."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import errors, settings
from factory.recipe import validate
from factory.recipe.reference import reference_markdown
from tests import checkout
from tests.documents import TOP, TUTORIAL, Block, anchors, blocks, code_spans, commands, documents, links, missing_lines

README, ERRORS, RECIPE = TOP / "README.md", TOP / "docs" / "errors.md", TOP / "docs" / "recipe.md"
SOURCES = {path: ast.parse(path.read_text("utf-8")) for path in sorted((TOP / "factory").rglob("*.py"))}
FILE_ENDINGS = {"py", "json", "log", "yaml", "sh", "iso", "raw", "img"}

EXECUTED_ELSEWHERE = {
    "make test": (TOP / ".ci" / "run", "exec make test"),
    "make build RECIPE=nginx": (TUTORIAL, "make build RECIPE="),
    ".venv/bin/factory doctor": (TUTORIAL, ".venv/bin/factory doctor\n"),
}
"""Commands of the README that take minutes or need a virtual machine: the file that has them run, and its words."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout.copy_to(tmp_path_factory.mktemp("docs") / "checkout")


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    argv = ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{command}"]
    return subprocess.run(
        argv,
        cwd=folder,
        env=checkout.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# Error codes


def constants(node: ast.AST) -> Iterator[str]:
    """The texts that an expression can be: itself, or either side of a conditional."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def codes() -> dict[str, set[int]]:
    """Every error code in the source, with the exit status of its class (none where the class is a variable)."""
    found: dict[str, set[int]] = {}
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                status = getattr(getattr(errors, name, None), "status", None)
                for keyword in node.keywords:
                    if keyword.arg == "code":
                        for code in constants(keyword.value):
                            found.setdefault(code, set()).update({status} if status else ())
            elif isinstance(node, ast.ClassDef):
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "code":
                        status = getattr(getattr(errors, node.name, None), "status", None)
                        for code in constants(statement.value):
                            found.setdefault(code, set()).update({status} if status else ())
    # Those in tables, and those handed on as an argument, look like the others.
    families = {code.partition(".")[0] for code in found} - {"factory"}
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            parts: list[ast.expr] = []
            if isinstance(node, ast.Tuple | ast.List):
                parts = node.elts
            elif isinstance(node, ast.Call):
                parts = node.args
            elif isinstance(node, ast.Dict):
                parts = node.values
            for text in (text for part in parts for text in constants(part)):
                family, _, rest = text.partition(".")
                if family in families and re.fullmatch("[a-z]+(-[a-z]+)*", rest) and rest not in FILE_ENDINGS:
                    found.setdefault(text, set())
    return found


def documented() -> dict[str, str]:
    """The sections of errors.md: code -> text."""
    parts = re.split(r"^### `([^`]+)`$", ERRORS.read_text("utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_error_code_is_documented_and_no_other() -> None:
    assert sorted(set(codes()) - set(documented())) == [], "without a section in docs/errors.md"
    assert sorted(set(documented()) - set(codes())) == [], "in docs/errors.md, but nowhere in the source"
    assert len(codes()) > 100


def test_each_section_says_what_it_means_its_cause_its_fix_and_the_status_that_it_has() -> None:
    known = codes()
    for code, text in documented().items():
        start = re.match(r"\n\nExit status ([^.]+)\. (.+)\n\n- Likely cause: (.+)\n- Fix: (.+)\n", text)
        assert start, code
        told = {int(digit) for digit in re.findall(r"\b\d\b", start[1])}
        assert known[code] <= told, f"{code} ends with {known[code]}"
        assert told <= {2, 3, 4, 5, 6}, code


def test_every_exit_status_is_in_the_readme() -> None:
    classes = [found for _, found in inspect.getmembers(errors, inspect.isclass) if hasattr(found, "status")]
    told = {int(status) for status in re.findall(r"^\| (\d+) \|", README.read_text("utf-8"), re.M)}
    assert told == {found.status for found in classes} | {0, 130}


# Fields, examples, settings


def test_the_table_of_fields_is_the_models() -> None:
    begin, end = "reference_markdown() -->\n\n", "\n<!-- end of the reference -->"
    table = RECIPE.read_text("utf-8").partition(begin)[2].partition(end)[0]
    assert table == reference_markdown(), "make it again: print(factory.recipe.reference.reference_markdown())"


def test_the_readmes_recipe_is_valid_and_close_to_the_real_one(tmp_path: Path, fresh: Path) -> None:
    (example,) = (block.text for block in blocks(README) if block.language == "yaml")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "nginx.yaml").write_text(example)
    (tmp_path / "recipes" / "nginx").symlink_to(fresh / "recipes" / "nginx")
    assert [str(fault) for fault in validate(["nginx"], settings={}, root=tmp_path)] == []


def test_every_setting_that_is_used_is_in_the_readme_and_no_other_is_anywhere() -> None:
    source = "".join(path.read_text("utf-8") for path in SOURCES if path.name != "settings.py")
    used = {name for name in settings.DEFAULTS if name in source} | {"FACTORY_CACHE", "FACTORY_STATE"}
    told = set(re.findall(r"^\| `(FACTORY_\w+)` \|", README.read_text("utf-8"), re.M))
    assert told == used
    for document in documents():
        assert set(re.findall(r"\bFACTORY_[A-Z0-9_]+", document.read_text("utf-8"))) <= used, document.name


def test_the_variables_of_other_programs_that_are_read_are_documented() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCES)
    read = set(re.findall(r'"((?:AWS|MGC)_[A-Z_]+|[A-Z]+_CA_BUNDLE|SSL_CERT_[A-Z]+|NO_COLOR)"', text))
    told = "".join(document.read_text("utf-8") for document in documents())
    assert {"MGC_WORKSPACE", "SSL_CERT_FILE"} <= read
    assert {name for name in read if f"`{name}`" not in told and f"`{name}=" not in told} == set()


def test_the_transcript_is_a_real_one() -> None:
    parts = README.read_text("utf-8").split("<!-- transcript -->")
    assert len(parts) == 3
    assert "Building nginx" in parts[1]
    for stage in ("base", "customise", "scrub", "convert", "verify", "boot test"):
        assert re.search(rf"\b{stage}\b.*\d s\b", parts[1]), stage


@pytest.mark.parametrize(
    "block", [b for b in blocks(RECIPE) if b.language == "yaml"], ids=lambda block: f"line {block.line}"
)
def test_what_the_reference_shows_of_recipes_has_only_known_keys(block: Block, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    least = "schema: 1\nname: web\nversion: 1.0.0\nbase: debian-12\n"
    (tmp_path / "recipes" / "web.yaml").write_text(least + block.text)
    faults = [fault for fault in validate(["web"], root=tmp_path) if "there is no" not in fault.message]
    assert [str(fault) for fault in faults] == []


# Verbs and options


@functools.cache
def help_of(*verb: str) -> str:
    """What ``factory VERB --help`` prints; empty when there is no such verb."""
    argv = [sys.executable, "-m", "factory", *verb, "--help"]
    environment = checkout.environment(PYTHONPATH=str(TOP), COLUMNS="200")
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def verbs(*group: str) -> set[tuple[str, ...]]:
    """The verbs of the command line, those of a group as two words."""
    listed = re.findall(r"^  ([a-z]+) ", help_of(*group).partition("Commands:\n")[2].partition("\n\n")[0], re.M)
    found: set[tuple[str, ...]] = set()
    for name in listed:
        found |= verbs(*group, name) if "Commands:" in help_of(*group, name) else {(*group, name)}
    return found


def factory_commands(document: Path) -> list[str]:
    """Every ``factory ...`` that *document* shows: as code in its text, or as a command in a block."""
    shown = [line.strip() for block in blocks(document) for line in block.text.replace("\\\n", " ").splitlines()]
    found = [line.partition(".venv/bin/factory ")[2] for line in shown if ".venv/bin/factory " in line]
    return found + [span.removeprefix("factory ") for span in code_spans(document) if span.startswith("factory ")]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_verb_and_option_in_the_documentation_exists(document: Path) -> None:
    for command in factory_commands(document):
        words = re.findall(r"[^\s'\"]+", command)
        verb = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in verbs()), ())
        alone = {"--help", *(group for group, *more in verbs() if more)}
        assert verb or (len(words) == 1 and words[0] in alone), f"factory {command}"
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", command):
            assert re.search(rf"{option}\b", help_of(*verb)), f"factory {command}"
    everything = "".join(help_of(*verb) for verb in {(), *verbs()})
    for span in code_spans(document):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span) if span.startswith("--") else ():
            assert re.search(rf"{option}\b", everything), span


def test_the_readme_lists_every_verb() -> None:
    rows = re.findall(r"^\| `factory ([a-z ]+?)(?: [A-Z.]+)?` \|", README.read_text("utf-8"), re.M)
    assert {tuple(row.split()) for row in rows} == verbs()


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_make_target_in_the_documentation_exists(document: Path) -> None:
    makefile = (TOP / "Makefile").read_text("utf-8")
    later = re.findall(r"^([a-z ]+):\n\t@echo .* comes with a later version", makefile, re.M)
    spans = code_spans(document) + [line for block in blocks(document) for line in block.text.splitlines()]
    for target in {match[1] for span in spans if (match := re.match(r"make ([a-z-]+)", span))}:
        assert re.search(rf"^{target}:.*##", makefile, re.M), target
        assert target not in " ".join(later).split(), target


# Links and places


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_link_within_the_documentation_leads_somewhere(document: Path) -> None:
    for link in links(document):
        assert not link.startswith(("http:", "/")), link
        if link.startswith("https:"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.is_relative_to(TOP), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_file_of_the_project_that_is_named_exists(document: Path) -> None:
    places = [span for span in code_spans(document) if re.match(r"(factory|templates|scripts|tests)/[\w./-]+$", span)]
    assert [place for place in places if not (TOP / place).exists()] == []


def test_the_map_for_contributors_covers_every_folder() -> None:
    named = " ".join(code_spans(TOP / "docs" / "design.md"))
    for folder in (path.parent for path in (TOP / "factory").glob("*/__init__.py")):
        assert f"factory/{folder.name}/" in named, folder.name


# Commands


def test_each_command_of_the_readme_is_run_here_or_by_a_test_that_is_named(fresh: Path) -> None:
    lines = [line for part in commands(README) for line in part.block.text.splitlines()]
    assert set(EXECUTED_ELSEWHERE) <= set(lines)
    for line in lines:
        if line in EXECUTED_ELSEWHERE:
            place, words = EXECUTED_ELSEWHERE[line]
            assert words in place.read_text("utf-8"), f"{line} is run nowhere"
        else:
            done = shell(line, fresh)
            assert done.returncode == 0, f"{line}\n{done.stdout}"


def test_the_two_commands_of_the_readme_set_up_first(fresh: Path) -> None:
    for command, does in (("make build RECIPE=nginx", ".venv/bin/factory build nginx"), ("make test", "pytest -m")):
        planned = shell(command.replace("make", "make --dry-run", 1), fresh).stdout
        assert 0 <= planned.find("scripts/setup") < planned.find(does), command


def test_the_tutorial_holds_as_far_as_it_needs_no_machine(fresh: Path) -> None:
    parts = commands(TUTORIAL)
    build = next(number for number, part in enumerate(parts) if part.block.text.startswith("make build"))
    for part in parts[:build]:
        if part.block.text in ("make setup\n", ".venv/bin/factory doctor\n"):
            continue
        done = shell(part.block.text, fresh)
        assert done.returncode == part.block.status, f"line {part.block.line}\n{done.stdout}"
        assert missing_lines(part.printed, done.stdout) == [], f"line {part.block.line}\n{done.stdout}"
    assert (fresh / "recipes" / "hello.yaml").exists()
    assert [str(fault) for fault in validate(["hello"], settings={}, root=fresh)] == []


def test_only_the_readme_and_the_tutorial_have_blocks_that_are_run() -> None:
    for document in documents():
        if document not in (README, TUTORIAL):
            assert [block.line for block in blocks(document) if block.language == "sh"] == [], document.name
        for block in blocks(document):
            assert block.language in ("sh", "bash", "text", "yaml"), f"{document.name}:{block.line}"
            if block.language in ("sh", "bash"):
                assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0


def test_missing_lines_are_found() -> None:
    assert missing_lines("a  b\nc …\n", "x\na b\nc d\n") == []
    assert missing_lines("a\nb\n", "b\na\n") == ["b"]
