"""Writes new study files: one to edit, or an audit of a base, its students and their teacher on a panel."""

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from veneer.errors import StudyError
from veneer.study_data import EndpointSpec

ALLOWED = (
    "the folder of a checkpoint, a JSONL file of recorded completions, an endpoint as URL#MODEL "
    "(https://api.openai.com/v1#gpt-4.1), or one of the hub as hub:ORG/NAME@REVISION, the revision a commit of 40 hex "
    "digits"
)
ON_HUB = re.compile(r"hub:[\w.-]+/[\w.-]+@[0-9a-f]{40}")
ITEMS, SUBJECTS = 200, 57
DATA = re.compile(r"\{AT ([\w./-]+)\}")
"""Where the template takes the revision of a data set."""
UNPINNED = "# bundle: FOLDER  # or a `revision` for each task: the hub did not answer when this was written"
LOCAL = ("localhost", "127.0.0.1", "::1")


def write(
    folder: Path, base: str, students: Sequence[str], teacher: str, *, bundle: Path | None, items: int = ITEMS
) -> Path:
    """Write `<folder>/study.yaml` and return it.

    Args:
        folder: Made if need be.
        base: The model before imitation.
        students: The models that were made of it.
        teacher: Who was imitated. Every model is one of `ALLOWED`.
        bundle: The folder that holds the benchmarks' data; without it they come from the hub, as they stand there
            today, and where the hub does not answer the file says that a revision is to be filled in.
        items: How many of each benchmark.

    Raises:
        StudyError: A model is none of these, or the file exists already or cannot be written.
    """
    written = _free_file(folder)
    sources = [_source(model) for model in (base, *students, teacher)]
    names: list[str] = []
    for place, model in enumerate([base, *students, teacher]):
        role = "base" if place == 0 else "teacher" if place == len(students) + 1 else "student"
        names.append(_free(_name(model), role, names))
    made_of = [
        f"  {name}: {{{source}, base: {names[0]}}}"
        for name, source in zip(names[1:-1], sources[1:-1], strict=True)
    ]
    template = (files("veneer") / "prompts" / "new_audit.yaml").read_text(encoding="utf-8")
    template, pinned = (DATA.sub("", template), False) if bundle else _pinned(template)
    where = (
        f"bundle: {_quoted(bundle.resolve())}"
        if bundle
        else "# bundle: FOLDER  # in place of the revisions: the benchmarks' data on this machine"
        if pinned
        else UNPINNED
    )
    text = (
        template.replace("{BASE}", f"{names[0]}: {{{sources[0]}}}")
        .replace("{STUDENTS}", "\n".join(made_of))
        .replace("{TEACHER}", f"{{name: {names[-1]}, {sources[-1]}}}")
        .replace("{BUNDLE}", where)
        .replace("{EACH}", str(math.ceil(items / SUBJECTS)))
        .replace("{ITEMS}", str(items))
        .replace("{DETECTABLE}", f"{detectable(items):.0%}")
    )
    return _written(written, text)


def _pinned(template: str) -> tuple[str, bool]:
    """Return a template with the newest revision of each task's data, and whether the hub told them."""
    found = {name: newest(name) for name in dict.fromkeys(DATA.findall(template))}
    known = all(found.values())
    return DATA.sub(lambda name: f", revision: '{found[name[1]]}'" if known else "", template), known


def newest(name: str) -> str | None:
    """Return the newest commit of a data set on the hub; None if the hub does not answer."""
    from huggingface_hub import snapshot_download

    try:
        # Of none of its files: its folder is called by the commit.
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=[])).name
    except (OSError, ValueError):
        return None


def blank(folder: Path) -> Path:
    """Write a commented study file to edit, `<folder>/study.yaml`, and return it.

    Raises:
        StudyError: The file exists already, or cannot be written.
    """
    text = (files("veneer") / "prompts" / "new_study.yaml").read_text(encoding="utf-8")
    return _written(_free_file(folder), text)


def detectable(items: int) -> float:
    """Return the difference of two scores that so many items show with 80 % power at the 5 % level, at worst.

    At worst: scores near one half, and models that err independently of each other. The difference of two such shares
    has a standard error of sqrt(2 * 1/4 / items), and 1.96 + 0.84 of them are needed (Cohen 1988, section 6.2).
    """
    return (1.96 + 0.8416) * math.sqrt(0.5 / items)


def _free_file(folder: Path) -> Path:
    written = folder / "study.yaml"
    if written.exists():
        raise StudyError(
            f"{written} exists already, and is left as it is. Name another folder, or move it away."
        )
    return written


def _written(file: Path, text: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{file} cannot be written ({error}). Name another folder.") from error
    return file


def _source(model: str) -> str:
    """Return what a study file says of where a model is."""
    path = Path(model)
    if ON_HUB.fullmatch(model):
        return f"checkpoint: {_quoted(model)}"
    if model.startswith(("http://", "https://")):
        return _endpoint(model)
    if path.is_dir():
        return f"checkpoint: {_quoted(path.resolve())}"
    if path.is_file():
        return f"replay: {_quoted(path.resolve())}"
    named = model if re.fullmatch(r"[\w.-]+/[\w.-]+", model) else "ORG/NAME"
    raise StudyError(
        f"{model!r} is no model: there is no such folder or file. A model is {ALLOWED}. One of the hub may be "
        f"downloaded first: hf download {named} --local-dir FOLDER"
    )


def _endpoint(model: str) -> str:
    url, _, name = model.partition("#")
    try:
        EndpointSpec(url=url, model=name)
    except ValidationError as error:
        # What was given is not shown, since it may hold a secret.
        raise StudyError(
            "A model that begins with http is an endpoint as URL#MODEL, such as https://api.openai.com/v1#gpt-4.1; the "
            "URL has no user name, password or query, and neither may be missing."
        ) from error
    key = "" if urlsplit(url).hostname in LOCAL else ", key: OPENAI_API_KEY"
    return f"endpoint: {{url: {_quoted(url)}, model: {_quoted(name)}{key}}}"


def _quoted(value: object) -> str:
    """Return a value as a study file holds it.

    Raises:
        StudyError: It would be read as something else.
    """
    text = str(value)
    if "${" in text or not text.isprintable():
        raise StudyError(
            f"{text!r}: a study file reads ${{...}} as an environment variable, and holds no line breaks or other "
            "signs that do not print. Give the folder or file another name."
        )
    return "'" + text.replace("'", "''") + "'"


def _name(model: str) -> str:
    last = re.split(r"[/#]", model.rstrip("/"))[-1]
    last = re.sub(r"\.jsonl(\.gz)?$|@[0-9a-f]{40}$", "", last)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._") or "model"


def _free(name: str, role: str, taken: Sequence[str]) -> str:
    tried = name if name not in taken else f"{name}-{role}"
    number = 2
    while tried in taken:
        tried, number = f"{name}-{role}-{number}", number + 1
    return tried
