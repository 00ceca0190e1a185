"""Recordings are answers where they exist, and failures that say so where they do not."""

import gzip
import json
import os
from pathlib import Path

import pytest

from veneer.errors import DataError
from veneer.models.model import ModelRef, Sampling, ScoringModel
from veneer.models.open import open_model
from veneer.records import Prompt, Stop


def ref(path: Path, prompt_field: str = "question_id") -> ModelRef:
    return ModelRef(name="old", kind="replay", path=path, digest="-", prompt_field=prompt_field)


def recording(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "recorded.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_ids_are_compared_as_strings_and_what_is_missing_has_failed(tmp_path: Path) -> None:
    model = open_model(ref(recording(tmp_path, {"question_id": 1, "text": "hello"})))
    prompts = [Prompt(prompt_id="1", text="?"), Prompt(prompt_id="2", text="?")]
    first, second = model.generate(prompts, Sampling(temperature=0, max_tokens=1))
    assert (first.text, first.stop, first.model) == ("hello", Stop.END, "old")
    assert (second.text, second.stop) == ("", Stop.FAILED)
    assert second.detail.startswith("no recording")
    assert not isinstance(model, ScoringModel)


def test_several_samples_are_told_apart_by_their_field(tmp_path: Path) -> None:
    rows = [{"question_id": 1, "text": text, "sample": sample} for sample, text in enumerate("ab")]
    model = open_model(ref(recording(tmp_path, *rows)))
    sampling = Sampling(temperature=0, max_tokens=1, samples=3)
    found = list(model.generate([Prompt(prompt_id="1", text="?")], sampling))
    assert [one.text for one in found] == ["a", "b", ""]
    assert found[2].stop is Stop.FAILED


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": 1, "text": "a"}, "no field 'question_id'"),
        ({"question_id": 1, "answer": "a"}, "no field 'text'"),
        ({"question_id": 1, "text": None}, "field text: found None"),
        ({"question_id": 1, "text": "a", "sample": -1}, "field sample: found -1"),
    ],
)
def test_a_malformed_row_is_an_error_that_names_its_line(
    tmp_path: Path, row: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=f"recorded.jsonl.gz:1.*{said}"):
        open_model(ref(recording(tmp_path, row)))


def test_a_second_recording_of_one_sample_is_an_error(tmp_path: Path) -> None:
    row = {"question_id": 1, "text": "a"}
    with pytest.raises(DataError, match="has a sample 0 already"):
        open_model(ref(recording(tmp_path, row, row)))


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recordings to read")
def test_real_recordings_answer_all_eighty_questions() -> None:
    folder = Path(os.environ["VENEER_DATA"]) / "vicuna_bench" / "answer"
    for path in sorted(folder.glob("*.jsonl.gz")):
        model = open_model(ref(path))
        prompts = [Prompt(prompt_id=str(place), text="?") for place in range(1, 81)]
        found = list(model.generate(prompts, Sampling(temperature=0, max_tokens=1)))
        assert all(one.stop is Stop.END for one in found)
