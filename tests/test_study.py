"""A study file is read once, checked, frozen; what is wrong with it is said so that it can be mended."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from veneer.errors import StudyError
from veneer.study import Study, load
from veneer.study_data import parse_tokens

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "src" / "veneer" / "prompts" / "new_study.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base", "teacher"):
        (tmp_path / name).mkdir()
    (tmp_path / "queries.jsonl").touch()
    (tmp_path / "items.jsonl").touch()
    return tmp_path


def audit() -> dict[str, Any]:
    return {
        "name": "audit",
        "bases": {"base": {"checkpoint": "base"}},
        "teacher": {"checkpoint": "teacher"},
        "students": {"student": {"base": "base", "replay": "items.jsonl"}},
    }


def ladder() -> dict[str, Any]:
    study = audit()
    del study["students"]
    study["collect"] = {"sources": {"broad": {"kind": "broad", "queries": "queries.jsonl"}}}
    study["train"] = {"amounts": ["1k", "2k"], "recipe": {"learning_rate": 1e-3}}
    return study


def read(folder: Path, content: dict[str, Any] | str) -> Study:
    path = folder / "study.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load(path)


def complaint(folder: Path, content: dict[str, Any] | str) -> str:
    with pytest.raises(StudyError) as error:
        read(folder, content)
    return str(error.value)


def test_an_audit_is_read_with_its_paths_absolute(folder: Path) -> None:
    assert read(folder, audit()).bases["base"].checkpoint == folder / "base"


def test_a_ladder_is_read_with_amounts_in_tokens(folder: Path) -> None:
    train = read(folder, ladder()).train
    assert train
    assert train.amounts == (1000, 2000)


def test_a_study_is_frozen(folder: Path) -> None:
    study = read(folder, audit())
    with pytest.raises(ValidationError):
        study.name = "other"  # type: ignore[misc]


def test_paths_use_environment_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", str(folder))
    study = audit() | {"teacher": {"checkpoint": "${WHERE}/teacher"}}
    assert read(folder, study).teacher.checkpoint == folder / "teacher"


def test_an_unset_environment_variable_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    said = complaint(folder, audit() | {"teacher": {"checkpoint": "${NOWHERE}/teacher"}})
    assert "${NOWHERE}, which is not set" in said


def test_a_missing_file_is_named_with_where_it_was_looked_for(folder: Path) -> None:
    said = complaint(folder, audit() | {"teacher": {"checkpoint": "gone"}})
    assert f"gone does not exist (looked for {folder / 'gone'})" in said


def test_a_missing_study_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="veneer new"):
        load(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("place", "key", "near"),
    [
        ((), "techer", "teacher"),
        (("train",), "amount", "amounts"),
        (("train", "recipe"), "learning-rate", "learning_rate"),
        (("bases", "base"), "checkpont", "checkpoint"),
        (("collect", "sources", "broad"), "query", "queries"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(
    folder: Path, place: tuple[str, ...], key: str, near: str
) -> None:
    study = ladder()
    section = study
    for part in place:
        section = section[part]
    section[key] = 1
    assert f"{'.'.join((*place, key))}: unknown key; the nearest known one is `{near}`" in complaint(
        folder, study
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amounts": ["2k", "1k"]}, "must grow strictly"),
        ({"amounts": []}, "at least 1 item"),
        ({"amounts": ["lots"]}, "such as 300000, 300k, 0.3M or 1G (found 'lots')"),
        ({"amounts": ["300K"]}, "such as 300000, 300k, 0.3M or 1G (found '300K')"),
        ({"amounts": ["1e6"]}, "such as 300000, 300k, 0.3M or 1G (found '1e6')"),
        ({"amounts": ["1.2.3M"]}, "such as 300000, 300k, 0.3M or 1G (found '1.2.3M')"),
        ({"amounts": ["0k"]}, "greater than 0"),
        ({"amounts": [True]}, "train: `amounts` is a number, or holds numbers; found [True], a yes or no"),
        ({"seeds": [False]}, "train: `seeds` is a number, or holds numbers; found [False], a yes or no"),
        ({"seeds": [1, 1]}, "the same seed twice"),
        ({"replay": {"share": 0.1, "amounts": ["5k"]}}, "must be among"),
        ({"replay": {"share": 1.0, "amounts": ["1k"]}}, "less than 1"),
    ],
)
def test_an_impossible_grid_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    study = ladder()
    study["train"] |= changes
    assert said in complaint(folder, study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"students": {}},
            "name students (`students`), how to make them (`train`), or data to collect (`collect`)",
        ),
        (
            {"students": {"base": {"base": "base", "replay": "items.jsonl"}}},
            "two contestants are called 'base'",
        ),
        ({"students": {"s": {"base": "llama", "replay": "items.jsonl"}}}, "the bases are ['base']"),
        ({"teacher": {"checkpoint": "teacher", "replay": "items.jsonl"}}, "exactly one of"),
        ({"name": True}, "YAML reads a bare yes/no/on/off so"),
        (
            {"evaluate": {"prompts": "defalt"}},
            "`default`, or a section with `items`, is wanted (found 'defalt')",
        ),
        ({"analyze": "fast"}, "analyze: a section is wanted, with keys among "),
        ({"teacher": "gpt"}, "teacher: a section is wanted, with keys among checkpoint, endpoint"),
        ({"name": "a/b"}, "pattern"),
    ],
)
def test_an_impossible_study_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    assert said in complaint(folder, audit() | changes)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            {"recorded": [{"format": "alpaca", "path": "items.jsonl"}], "limit": 5},
            "`limit` is about queries that the teacher is asked",
        ),
        (
            {"recorded": [{"format": "alpaca", "path": "items.jsonl"}], "licence": "MIT"},
            "`licence` is about queries that the teacher is asked; `recorded` has its own",
        ),
        (
            {"recorded": [{"format": "alpaca", "path": "items.jsonl", "query_field": "q"}]},
            "`query_field` belongs to the format `pairs`; 'alpaca' has its own fields",
        ),
        (
            {"synthesis": {"seeds": "items.jsonl", "pairs": 5}, "instruction": "Do {query}"},
            "`instruction` is about given queries",
        ),
        ({"benchmark": "qa", "query_field": "q"}, "`query_field` does nothing with `benchmark`"),
        ({"queries": "queries.jsonl", "limit": True}, "`limit` is a number"),
        ({"recorded": []}, "found none"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(folder: Path, source: dict[str, Any], said: str) -> None:
    study = ladder()
    study["collect"]["sources"]["broad"] = {"kind": "broad", **source}
    assert said in complaint(folder, study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"filters": {"min_answer_words": 9, "max_answer_words": 3}}, "no answer could be kept"),
        ({"block": "2k"}, "prepare.block"),
        ({"overlap": {"ngrams": [8], "ngram": 13}}, "which is not among `ngrams` [8]"),
        ({"near_duplicates": {"threshold": True}}, "`threshold` is a number"),
        ({"mixtures": {"mix": {"weights": {"broad": True}}}}, "`weights` is a number, or holds numbers"),
    ],
)
def test_preparing_that_cannot_be_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    assert said in complaint(folder, ladder() | {"prepare": changes})


def test_a_yes_or_no_is_read_where_one_is_meant(folder: Path) -> None:
    endpoint = {"url": "http://host", "model": "m", "batch": True, "extra": {"logprobs": True}}
    assert read(folder, audit() | {"teacher": {"endpoint": endpoint}}).teacher.endpoint


def test_a_local_source_needs_a_task_that_is_a_benchmark(folder: Path) -> None:
    study = ladder()
    study["collect"]["sources"]["broad"] = {"kind": "local", "task": "qa", "queries": "queries.jsonl"}
    assert "task is 'qa'; the benchmarks are []" in complaint(folder, study)


def test_a_key_given_twice_is_refused_with_its_line(folder: Path) -> None:
    assert "the key 'name' is given twice" in complaint(folder, "name: a\nname: b\n")


@pytest.mark.parametrize("content", ["name: [", "- a list", ""])
def test_a_file_that_is_no_study_is_refused(folder: Path, content: str) -> None:
    assert complaint(folder, content)


@given(st.integers(1, 999), st.sampled_from("kMG"))
def test_amounts_may_be_written_with_a_suffix(number: int, suffix: str) -> None:
    assert parse_tokens(f"{number}{suffix}") == number * {"k": 10**3, "M": 10**6, "G": 10**9}[suffix]


def test_the_study_that_new_writes_is_a_possible_study() -> None:
    assert Study.model_validate(yaml.safe_load(EXAMPLE.read_text())).name == "my-study"


def test_every_key_of_a_study_is_read_somewhere() -> None:
    source = "".join(
        path.read_text() for path in (HERE.parent / "src" / "veneer").rglob("*.py") if path.name != "study.py"
    )
    schema = Study.model_json_schema()
    keys = {key for part in [schema, *schema["$defs"].values()] for key in part.get("properties", {})}
    unread = sorted(key for key in keys - {"kind"} if f".{key}" not in source)
    assert unread == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judges": {"simulated": {"kind": "likelihood"}}}, "no judge may be called `simulated`"),
        ({"judges": {"j": {"kind": "likelihood", "model": "nope"}}}, "judges.j.model is 'nope'"),
        (
            {"judges": {"likelihood": {"kind": "likelihood", "modle": "x"}}},
            "judges.likelihood.modle: unknown key",
        ),
        (
            {"students": {"teacher-again": {"base": "base", "replay": "items.jsonl"}}},
            "called 'teacher-again'",
        ),
        ({"rate": {"simulated": {"style_attention": float("inf")}}}, "finite"),
        ({"rate": {"simulated": {"seed": -1}}}, "greater than or equal to 0"),
        ({"rate": {"people": {}}}, "`evaluate.prompts`, and there are none"),
        ({"rate": {}}, "name `simulated` raters, `people`, or both"),
        ({"rate": {"raters": 3}}, "rate.raters: unknown key"),
    ],
)
def test_a_study_that_would_fail_late_is_refused_at_once(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in complaint(folder, audit() | changes)


def test_a_ladder_on_recordings_is_refused(folder: Path) -> None:
    assert "needs its weights: name a `checkpoint`" in complaint(
        folder, ladder() | {"bases": {"base": {"replay": "items.jsonl"}}}
    )


def test_two_students_of_one_name_are_refused(folder: Path) -> None:
    study = ladder()
    study["bases"] = {"a": {"checkpoint": "base"}, "a-b": {"checkpoint": "base"}}
    source = {"kind": "broad", "queries": "queries.jsonl"}
    study["collect"]["sources"] = {"b-c": source, "c": source}
    assert "two students would be called 'a-b-c'" in complaint(folder, study)


@pytest.mark.parametrize("name", ["nq-synthetic", "tldr-synthetic"])
def test_the_recipes_of_the_paper_are_studies(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SEEDS", "POSTS", "ITEMS"):
        monkeypatch.setenv(variable, str(folder / "items.jsonl"))
    monkeypatch.setenv("TOKENIZER", str(folder / "base"))
    study = load(HERE.parent / "studies" / f"{name}.yaml")
    assert study.is_data_only
    assert list(study.imitated) == [name]


def test_the_parts_of_a_mixture_are_not_trained_on_alone(folder: Path) -> None:
    study = ladder()
    study["collect"]["sources"]["other"] = {"kind": "broad", "queries": "queries.jsonl"}
    study["prepare"] = {"mixtures": {"mix": {"weights": {"broad": 2, "other": 1}}}}
    assert list(read(folder, study).imitated) == ["mix"]
    study["train"]["sources"] = ["broad", "mix"]
    assert list(read(folder, study).imitated) == ["broad", "mix"]


def test_a_mixture_of_unknown_sources_is_refused(folder: Path) -> None:
    study = ladder() | {"prepare": {"mixtures": {"mix": {"weights": {"nowhere": 1}}}}}
    assert "unknown source 'nowhere'; the sources are ['broad']" in complaint(folder, study)


def test_a_key_in_a_study_file_is_the_name_of_a_variable(folder: Path) -> None:
    endpoint = {"url": "https://api.openai.com/v1", "model": "m", "key": "sk-abc-123"}
    assert "endpoint.key" in complaint(folder, audit() | {"teacher": {"endpoint": endpoint}})


@pytest.mark.parametrize(("field", "value"), [("key", "sk-SECRET-1"), ("url", "http://user:SECRET@host")])
def test_what_may_be_a_secret_is_not_repeated_in_an_error(tmp_path: Path, field: str, value: str) -> None:
    endpoint = {"url": "http://host", "model": "m", field: value}
    (tmp_path / "s.yaml").write_text(f"name: s\nteacher: {{endpoint: {endpoint}}}\n")
    with pytest.raises(StudyError, match=field) as raised:
        load(tmp_path / "s.yaml")
    assert "SECRET" not in str(raised.value)
