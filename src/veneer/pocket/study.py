"""Writes the built-in study: its models, queries, benchmarks and study file, each once and whole."""

import shutil
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from veneer.cells import Cell, crew
from veneer.disk import read_json, write_json, write_rows, write_text
from veneer.errors import VeneerError
from veneer.pocket.documents import Library
from veneer.pocket.questions import make_questions
from veneer.pocket.recipe import RECIPES, TEACHER, VERSION, Recipe, Size
from veneer.pocket.study_file import study_text
from veneer.pocket.world import RUDE_WORDS, World, make_world

RECORD = "pocket.json"
"""Says which pocket a folder holds; written first."""
UNFINISHED = ".training"
"""Ends the name of a checkpoint's folder until it is whole."""

__all__ = ["Size", "write"]


def write(
    folder: Path,
    *,
    seed: int,
    size: Size,
    workers: int = 2,
    progress: Callable[[str], None] = print,
) -> Path:
    """Write the built-in study, training its bases and its teacher from nothing.

    What lies there already, whole and of the same seed and size, is kept: after an interruption the
    same call finishes the work, and edits to the study file stay.

    Args:
        folder: Where it goes; made if need be.
        seed: Of the world and of all training.
        size: How large the world is.
        workers: Models trained at a time; the files do not depend on it.
        progress: Called with a line for people whenever something is finished.

    Returns:
        The path of the study file.

    Raises:
        VeneerError: The folder holds something else, or a training failed.
    """
    recipe = RECIPES[size]
    _claim(folder, seed=seed, size=size)
    world = make_world(recipe, seed=seed)
    _write_rows(folder, world, recipe, seed=seed)
    progress(f"{len(world.values)} facts; queries, benchmarks and prompts are written.")
    _train(folder, recipe, seed=seed, size=size, workers=workers, progress=progress)
    path = folder / "study.yaml"
    if not path.exists():
        write_text(path, study_text(recipe, seed=seed, size=size))
    return path


def _claim(folder: Path, *, seed: int, size: Size) -> None:
    """Mark the folder as this pocket's, or refuse it.

    Raises:
        VeneerError: It holds another pocket, or files that are no pocket.
    """
    own = {"seed": seed, "size": size.value, "version": VERSION}
    record = folder / RECORD
    if not record.exists():
        strangers = [path.name for path in sorted(folder.glob("*")) if path.name[0] != "."]
        if strangers:
            raise VeneerError(
                f"{folder}: holds files that no pocket wrote, {strangers[0]} among them. A pocket is "
                "written into a new or empty folder: name another one."
            )
        write_json(record, own)
    elif (found := read_json(record)) != own:
        raise VeneerError(
            f"{folder}: holds another pocket, {_named(found)}; asked for was {_named(own)}. Name "
            "another folder, or delete this one."
        )


def _named(record: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in record.items())


def _write_rows(folder: Path, world: World, recipe: Recipe, *, seed: int) -> None:
    """Write everything but the models and the study file."""
    questions = make_questions(world, recipe, seed=seed)
    files: dict[str, list[dict[str, Any]]] = {"prompts.jsonl": questions.prompts}
    files |= {f"queries/{name}.jsonl": rows for name, rows in questions.queries.items()}
    files |= {f"benchmarks/{name}.jsonl": rows for name, rows in questions.benchmarks.items()}
    files |= {f"benchmarks/{name}.shots.jsonl": rows for name, rows in questions.shots.items()}
    for name in recipe.bases:
        own = recipe.model(name)
        library = Library(world, facts=own.facts, sums=own.sums)
        documents = islice(library.documents(seed=seed), recipe.replay_documents)
        files[f"pretraining/{name}.jsonl"] = [{"text": document} for document in documents]
    for name, rows in files.items():
        if not (folder / name).exists():
            write_rows(folder / name, rows)
    if not (folder / "lexicons" / "rude.txt").exists():
        write_text(folder / "lexicons" / "rude.txt", "\n".join(RUDE_WORDS) + "\n")


def _train(
    folder: Path,
    recipe: Recipe,
    *,
    seed: int,
    size: Size,
    workers: int,
    progress: Callable[[str], None],
) -> None:
    """Train every model that is not there yet, those that take longest first."""
    wanted = {
        model.name: folder / (TEACHER if model.name == TEACHER else f"bases/{model.name}")
        for model in reversed(recipe.models)
    }
    cells = [
        Cell(name=name, work=partial(train_one, name, path, seed=seed, size=size))
        for name, path in wanted.items()
        if not path.exists()
    ]
    with crew(workers) as hands:
        said = hands.run(cells, done=lambda name: progress(f"Trained: {name}."))
    for line in said:
        progress(line)


def train_one(name: str, path: Path, *, seed: int, size: Size) -> str:
    """Train one model into a folder beside its own and move it there when it is whole."""
    from veneer.pocket import pretrain  # Imported here: only the workers need torch.

    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    said = pretrain.train(name, unfinished, seed=seed, size=size)
    unfinished.rename(path)
    return said
