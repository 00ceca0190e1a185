"""Any task of lm-eval becomes a file of items: its own prompts and shots, to the byte, and the documents to grade by.

The file is made once, into `<folder>/<name>-<key>/items.jsonl`, and holds a row an item in the format of the user's own
benchmarks (`veneer.benchmarks.items`). From then on nothing asks for the task's data again.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from veneer import disk
from veneer.benchmarks import bundle, harness_items, harness_tasks
from veneer.benchmarks.harness_grading import needs
from veneer.benchmarks.harness_items import PROGRAMS, TOXICITY, Asking
from veneer.benchmarks.harness_tasks import Leaf, Row
from veneer.errors import DataError, StudyError
from veneer.study_benchmarks import BenchmarkSpec

VERSION = 3
ITEMS, ASKING = "items.jsonl", "asking.json"
SHOTS_SEED = 1234
"""lm-eval's own seed for drawing shots; a study's `seed` moves it."""
CHAT_TOKENS = 512
"""A chat may write so much where the task allows less: it explains itself, and the answer often comes last."""
SKILLS = ("gsm8k", "humaneval", "mbpp", "bbh", "math", "minerva_math")
"""Families of tasks that measure a skill; what follows instructions or is toxic is named in `_measures`, and everything
else is knowledge."""


def resolve(name: str, spec: BenchmarkSpec, place: Path | None, folder: Path) -> BenchmarkSpec:
    """Return a benchmark's section with its task replaced by a file of items, making the file if need be.

    Args:
        name: Its key under `evaluate.benchmarks`.
        spec: That section; one that has `items` comes back as it is.
        place: The bundle that holds the data; None takes them from the hub.
        folder: Where the files of items go.

    Raises:
        StudyError: There is no such task, or it cannot be used here; the message says why.
        DataError: The data are not to be had.
    """
    if spec.task is None:
        return spec
    where = f"evaluate.benchmarks.{name}"
    try:
        made = _made(name, spec, place, folder)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    asking = Asking(**{**disk.read_json(made / ASKING), "stop": tuple(disk.read_json(made / ASKING)["stop"])})
    return _resolved(spec, asking, made / ITEMS)


def _made(name: str, spec: BenchmarkSpec, place: Path | None, folder: Path) -> Path:
    assert spec.task is not None
    leaves = harness_tasks.leaves(spec.task, folder)
    for leaf in leaves:
        harness_items.check(leaf, leaf.config(functions=False))
    wanted = {leaf.name: _wanted(leaf, spec) for leaf in leaves}
    made_from = {
        "version": VERSION,
        "lm_eval": harness_tasks.version(),
        "task": spec.task,
        "shots": spec.shots if isinstance(spec.shots, int) else None,
        "limit": spec.limit,
        "seed": spec.seed,
        "metric": spec.metric,
        "data": _pinned(spec, place, [one for own in wanted.values() for one in own]),
    }
    key = hashlib.sha256(disk.canonical(made_from).encode()).hexdigest()
    final = folder / f"{name}-{key[:12]}"
    if not final.exists():
        fresh = folder / f".{final.name}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _write(fresh, leaves, wanted, spec, place)
        disk.write_json(fresh / "made_from.json", made_from)
        try:
            fresh.rename(final)
        except OSError:  # Another run of the study was faster, with the same file.
            shutil.rmtree(fresh)
            if not final.exists():
                raise
    return final


def _wanted(leaf: Leaf, spec: BenchmarkSpec) -> list[bundle.Wanted]:
    """Return the splits that a task is made of."""
    config = leaf.config(functions=False)
    path, name = config["dataset_path"], config.get("dataset_name")
    shots = harness_items.shots_of(leaf, config, spec.shots if isinstance(spec.shots, int) else None)
    return [(path, name, split) for split in harness_items.splits_of(config, shots)]


def _pinned(spec: BenchmarkSpec, place: Path | None, wanted: Sequence[bundle.Wanted]) -> Any:
    """Return what stands for the data in the key: the digests of the files used, or the revision."""
    if place is not None:
        return bundle.fingerprint(place, wanted)
    if spec.revision is None:
        raise StudyError(
            "the data of its task come from the hub: name `revision` (a commit, 40 hex digits), so that they can "
            "never change, or `evaluate.bundle`, a folder that holds them."
        )
    if len(paths := sorted({path for path, _, _ in wanted})) > 1:
        raise StudyError(
            f"its tasks come from several data sets ({paths}), and `revision` is a commit of one; name the tasks one "
            "by one, or `evaluate.bundle`."
        )
    return spec.revision


def _rows(spec: BenchmarkSpec, place: Path | None, wanted: bundle.Wanted) -> list[Row]:
    path, name, split = wanted
    if place is not None:
        return bundle.rows(place, path, name, split)
    import datasets

    try:
        found = datasets.load_dataset(path, name, split=split, revision=spec.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{path} at {spec.revision}, split {split!r}: cannot be fetched ({type(error).__name__}: {error}). Without "
            f"the hub, put one of these into a folder and name it as `evaluate.bundle`: "
            f"{', '.join(bundle.names(path, name, split))}."
        ) from error
    return [dict(row) for row in found]


def _write(
    folder: Path,
    leaves: Sequence[Leaf],
    wanted: Mapping[str, Sequence[bundle.Wanted]],
    spec: BenchmarkSpec,
    place: Path | None,
) -> None:
    rows: list[Row] = []
    askings: list[Asking] = []
    for leaf in leaves:
        splits = {one[2]: _rows(spec, place, one) for one in wanted[leaf.name]}
        asking, own = _items(leaf, splits, spec)
        askings.append(asking)
        # Subjects of a group are its clusters: their items share shots, and often a source.
        rows += [{**row, "cluster": leaf.name} if len(leaves) > 1 else row for row in own]
    kinds = sorted({asking.kind for asking in askings})
    if len(kinds) > 1:
        raise StudyError(f"the group mixes tasks of different kinds ({kinds}); name its tasks one by one.")
    if len(metrics := sorted({asking.metric for asking in askings})) > 1:
        raise StudyError(
            f"the tasks of the group are scored by different metrics: name one of {metrics} as `metric`."
        )
    # Parts of a group may end at different strings: the first subject's would cut another's answers.
    stop = {asking.stop for asking in askings}
    if len(stop) > 1:
        raise StudyError("the tasks of the group end at different stop strings; name them one by one.")
    asking = replace(askings[0], max_tokens=max(one.max_tokens for one in askings))
    disk.write_rows(folder / ITEMS, rows)
    disk.write_json(
        folder / ASKING,
        {
            "kind": asking.kind,
            "metric": asking.metric,
            "stop": list(asking.stop),
            "max_tokens": asking.max_tokens,
            "temperature": asking.temperature,
        },
    )


def _items(leaf: Leaf, splits: Mapping[str, Sequence[Row]], spec: BenchmarkSpec) -> tuple[Asking, list[Row]]:
    config = leaf.config(functions=False)
    shots = harness_items.shots_of(leaf, config, spec.shots if isinstance(spec.shots, int) else None)
    try:
        if leaf.name in PROGRAMS or leaf.name == TOXICITY:
            with harness_tasks.undisturbed():
                return harness_items.without_code(leaf, splits, shots, spec.limit)
        with needs(leaf.name), harness_tasks.undisturbed():
            asking, rows = harness_items.made(leaf, splits, shots, SHOTS_SEED + spec.seed, spec.metric)
            return asking, list(rows(spec.limit))
    # What the templates and functions of tasks raise on rows of another form.
    except (ValueError, KeyError, IndexError, jinja2.TemplateError) as error:
        raise DataError(
            f"task {leaf.name!r}: its own code cannot use the data ({type(error).__name__}: {error}). Rows as the "
            "hub's data set has them are wanted."
        ) from error


def _measures(task: str) -> str:
    if task.startswith("ifeval"):
        return "instructions"
    if task == TOXICITY:
        return "toxicity"
    return "skill" if task.startswith(SKILLS) else "knowledge"


def _resolved(spec: BenchmarkSpec, asking: Asking, items: Path) -> BenchmarkSpec:
    """Return the section as it is for items: how they are put and graded is the task's, unless the study says it."""
    assert spec.task is not None
    chooses = asking.kind in ("choices", "likelihood")
    forms = {"choices": ("choose", "plain"), "likelihood": ("choose",)}.get(asking.kind, ("plain",))
    chosen = spec.forms or forms
    if stray := [form for form in chosen if form == "choose" and not chooses]:
        raise StudyError(f"forms: {stray[0]!r} needs choices, and the task {spec.task!r} has none.")
    if spec.pass_at is not None and asking.kind != "program":
        raise StudyError(f"pass_at: belongs to programs, and the task {spec.task!r} runs none; leave it out.")
    named = spec.model_fields_set
    limits = {"plain": asking.max_tokens, "chat": max(asking.max_tokens, CHAT_TOKENS)}
    return spec.model_copy(
        update={
            "items": items,
            "task": None,
            "shots": None,
            "limit": None,
            "revision": None,
            "metric": None,
            "measures": spec.measures or _measures(spec.task),
            "grading": asking.kind if asking.kind in ("program", "toxicity") else "lm-eval",
            "forms": tuple(chosen),
            "stop": spec.stop if "stop" in named else asking.stop,
            "max_tokens": spec.max_tokens if "max_tokens" in named else limits,
            "temperature": spec.temperature if "temperature" in named else asking.temperature,
        }
    )
