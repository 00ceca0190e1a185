"""What README and docs/ show is so: commands run, snippets parse, links lead somewhere, and the pages build.

A block of a page is run unless `<!-- not run: why -->` stands before it; then its commands must at least be ones that
there are. Blocks run in a folder made for their page, in order. It holds `pocket/`, the built-in study, finished, at
the size that is for tests; `study.yaml`, an audit of recorded answers, finished; and `models/`. A block with
`title="FILE"` is written to that file, one with `title="FILE, at its end"` is added to it.
"""

import doctest
import importlib.util
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from tests.conftest import veneer
from veneer.cli import app
from veneer.study import Study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
AT_ITS_END = ", at its end"
ELSEWHERE = {"docs/api.md"}  # Run by test_api.py.
SIZES = {"48k": "400"}  # Students' amounts: the paper's words are of the full size, the study here is tiny.
DECIDED = {0, 1, 3}  # What `veneer check` may come to: met, not met, undecided.
STUDY = """\
name: audit
bases: {base: {replay: base.jsonl}}
teacher: {name: teacher, replay: teacher.jsonl}
students: {student: {base: base, replay: student.jsonl}}
evaluate:
  benchmarks: {capitals: {items: items.jsonl, measures: knowledge, grading: match}}
  prompts: {items: prompts.jsonl}
analyze: {resamples: 200}
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    why: str
    """Why it is not run; empty if it is."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block as words, comments and empty lines left out."""
        lines = self.text.replace("\\\n", " ").replace("&&", "\n").splitlines()
        return [words for line in lines if (words := shlex.split(re.sub(r"(^|\s)#.*", "", line)))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=text[: found.start("language")].count("\n") + 1,
            language=found["language"],
            title=found["title"] or "",
            text=re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            why=found["why"] or "",
        )
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def named(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_opens_a_block_of_a_known_language(page: Path) -> None:
    found = blocks_of(page)
    assert {block.language for block in found} <= {"sh", "bash", "python", "yaml", "json", "text"}
    assert len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(found)


@pytest.mark.parametrize(
    "block", [one for one in BLOCKS if one.language == "yaml" and not one.why], ids=named
)
def test_settings_are_part_of_a_possible_study(block: Block) -> None:
    Study.model_validate(completed(yaml.safe_load(block.text)))


def completed(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a study file in the least study that can hold it; parts that are no sections are benchmarks."""
    if not part.keys() & Study.model_fields.keys():
        part = {"evaluate": {"benchmarks": part}}
    least: dict[str, Any] = {"name": "least", "teacher": {"name": "teacher", "replay": "teacher.jsonl"}}
    if "students" not in part:
        least["collect"] = {"sources": {"broad": {"kind": "broad", "queries": "queries.jsonl"}}}
    if "train" in part or "students" in part or "rate" in part:
        least["bases"] = {"base": {"checkpoint": "base"}}
    whole = least | part
    evaluate = {"prompts": "default"} | whole.get("evaluate", {})
    return whole | {"evaluate": evaluate}


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "json"], ids=named)
def test_rows_are_json(block: Block) -> None:
    for line in block.text.splitlines():
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize(
    "block", [one for one in BLOCKS if one.language in ("sh", "bash") and one.why], ids=named
)
def test_what_is_not_run_names_commands_that_there_are(block: Block) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in block.commands:
        command, *rest = [word for word in words if not re.match(r"[A-Z0-9_]+=", word)] or ["true"]
        if is_veneer(command):
            known(rest)
        elif Path(command).name == "make":
            assert set(rest) <= set(targets), words
        elif Path(command).name == "python" and rest[0].endswith(".py"):
            assert (ROOT / rest[0]).exists(), words


def test_commands_in_running_text_are_ones_that_there_are() -> None:
    for page in PAGES:
        for said in re.findall(r"`(veneer [^`\n]+)`", page.read_text(encoding="utf-8")):
            words = shlex.split(said)
            if "..." not in words and "…" not in said and len(words) > 2:
                known(words[1:])


def is_veneer(command: str) -> bool:
    return Path(command).name == "veneer"


def known(words: list[str]) -> None:
    """Parse a command without running it; what is unknown or missing raises."""
    if words and not words[0].startswith("-"):
        commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
        commands[words[0]].make_context(words[0], words[1:])


@pytest.fixture(scope="session")
def ground(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages take it for granted; copy it before use."""
    place = tmp_path_factory.mktemp("ground") / "here"
    shutil.copytree(finished_study, place / "pocket")
    models = {"base": "bases/small", "student": "bases/medium", "teacher": "teacher"}
    for name, stands_in in (models | {"llama": "bases/small", "vicuna": "bases/medium"}).items():
        shutil.copytree(place / "pocket" / stands_in, place / "models" / name)

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(
        "items.jsonl",
        [{"id": f"i{i}", "question": f"What is {i}?", "references": [f"it {i}"]} for i in range(40)],
    )
    write("prompts.jsonl", [{"id": f"p{i}", "question": f"Tell me of {i}."} for i in range(12)])
    for name, right in (("base", 10), ("student", 20), ("teacher", 30)):
        said = {f"i{i}": f"it {i}" if i < right else "no idea" for i in range(40)}
        said |= {f"p{i}": f"This is what {name} has to say of {i}." for i in range(12)}
        write(f"{name}.jsonl", [{"prompt_id": key, "text": text} for key, text in said.items()])
    (place / "study.yaml").write_text(STUDY)
    done = veneer("run", place / "study.yaml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return place


def runs(page: Path) -> bool:
    shown = [one for one in blocks_of(page) if not one.why]
    return any(one.language in ("sh", "bash", "python") for one in shown) and not is_elsewhere(page)


def is_elsewhere(page: Path) -> bool:
    return str(page.relative_to(ROOT)) in ELSEWHERE


@pytest.fixture
def brief_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are made ready, listen on any free port, and end as if Ctrl-C was pressed at once."""
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    bind = socket.socket.bind

    def bind_anywhere(listening: socket.socket, address: Any) -> None:
        bind(listening, (address[0], 0, *address[2:]) if isinstance(address, tuple) else address)

    monkeypatch.setattr(socket.socket, "bind", bind_anywhere)


@pytest.mark.usefixtures("brief_servers")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if runs(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_shows_can_be_done(
    page: Path, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ground, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin")
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if block.title:
            write(block)
        if block.why:
            continue
        if block.language in ("sh", "bash"):
            do(block)
        elif block.language == "python":
            example(block, names)


def write(block: Block) -> None:
    path = Path(block.title.removesuffix(AT_ITS_END))
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if block.title.endswith(AT_ITS_END) else ""
    path.write_text(before + block.text)


def do(block: Block) -> None:
    """Run a block: commands of Veneer in this process, which has loaded what they need; any other block in bash."""
    text = block.text
    for shown, here in SIZES.items():
        text = text.replace(shown, here)
    commands = replace(block, text=text).commands
    if all(is_veneer(words[0]) for words in commands):
        for words in commands:
            found = CliRunner().invoke(app, words[1:])
            allowed = DECIDED if words[1] == "check" else {0}
            assert found.exit_code in allowed, (
                f"{block.place}: {shlex.join(words)}\n{found.output}{found.exception!r}"
            )
    else:
        done = subprocess.run(["bash", "-euc", text], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.place}\n{done.stdout}{done.stderr}"


def example(block: Block, names: dict[str, Any]) -> None:
    assert ">>>" in block.text, (
        f"{block.place}: examples are written with >>>, so that what comes out can be checked"
    )
    test = doctest.DocTestParser().get_doctest(block.text, names, block.place, str(block.page), block.line)
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        test, out=said.append, clear_globs=False
    )
    names.update(test.globs)
    assert outcome.failed == 0, "".join(said)


def test_formulas_name_functions_that_there_are() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    found = re.findall(r"`(\w+)\.(\w+)`(?:, | \|$)", text, re.MULTILINE)
    assert len(found) > 40
    homes = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src" / "veneer").rglob("*.py")}
    for module, name in found:
        sources = [source for path, source in homes.items() if path.stem == module]
        assert any(f"def {name}(" in source for source in sources), f"{module}.{name}"


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built."""
    if not importlib.util.find_spec("mkdocs"):
        pytest.skip("the documentation is built with the extra `docs`: make docs")
    place = tmp_path_factory.mktemp("site")
    asked = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    loading = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    assert [(page.name, found) for page in pages for found in loading.findall(page.read_text())] == []


def test_the_reference_shows_every_key_of_the_study_file(site: Path) -> None:
    text = (site / "reference" / "study-file" / "index.html").read_text()
    missing = [name for name in Study.model_fields if f'id="veneer.study.Study.{name}"' not in text]
    assert missing == []


def test_the_reference_shows_every_command(site: Path) -> None:
    text = (site / "reference" / "command-line" / "index.html").read_text()
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    assert [name for name in commands if f'id="veneer-{name}"' not in text] == []
