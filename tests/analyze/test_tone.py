"""Authoritative tone: the share of completions with a verdict, on the same prompts for all where that can be."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.conftest import veneer
from veneer import pipeline, viewing
from veneer.analyze import tone
from veneer.analyze.reading import Asked
from veneer.analyze.tone import Tones
from veneer.disk import write_json, write_rows
from veneer.evaluate import judge_words
from veneer.forecast import forecast
from veneer.stats import resample
from veneer.store import Artefact
from veneer.study import load

PROMPTS = tuple(f"p{place}" for place in range(40))
NAMES = ("base", "student", "teacher-again")
WEIGHTS = resample(len(PROMPTS), 200, rng=np.random.default_rng(0))
CANARIES = {"verdicts": {}, "right": 7, "asked": 8, "fingerprint": "f"}


def tones(*, blank: int) -> Tones:
    """The base is authoritative in every second prompt, the others always; its first completions have no verdict."""
    verdicts = {
        "base": {prompt: place % 2 == 0 for place, prompt in enumerate(PROMPTS) if place >= blank},
        "student": dict.fromkeys(PROMPTS, True),
        "teacher-again": dict.fromkeys(PROMPTS, True),
    }
    silent = {"base": dict.fromkeys(PROMPTS[:blank], "the completion is blank")}
    told = {"identity": "m", "served": {"m-1": 9}, "canaries": dict.fromkeys(NAMES, CANARIES)}
    return Tones(judge="ear", names=NAMES, prompts=PROMPTS, verdicts=verdicts, silent=silent, told=told)


def test_few_prompts_without_a_verdict_are_left_out_for_all() -> None:
    found = tone.authoritative(tones(blank=2), NAMES, WEIGHTS)
    assert found.n == (38, 38, 38)
    assert found.values.tolist() == [0.5, 1, 1]
    assert found.missing == {}


def test_where_they_are_many_each_is_measured_on_its_own() -> None:
    found = tone.authoritative(tones(blank=11), NAMES, WEIGHTS)
    assert found.n == (29, 40, 40)
    assert found.values.tolist() == pytest.approx([14 / 29, 1, 1])


def test_a_contestant_with_hardly_a_verdict_has_no_share_and_the_reason_says_why() -> None:
    found = tone.authoritative(tones(blank=36), NAMES, WEIGHTS)
    assert found.missing == {
        "base": "4 of 40 completions have a verdict on their tone, and 10 are needed (36 x the completion is blank)"
    }


def test_without_a_judge_of_tone_the_share_is_undefined_and_says_what_to_name() -> None:
    found = tone.authoritative(None, NAMES, WEIGHTS)
    assert found.missing == dict.fromkeys(NAMES, "no judge of tone: name one under judges")
    assert tone.without_verdict(None, NAMES) is None


def test_notes_say_who_judged_on_what_how_well_and_what_has_no_verdict() -> None:
    (said,) = tone.notes_of(tones(blank=2))
    assert "the judge ear (m), on the 38 of 40 prompts on which everybody has a verdict" in said
    assert "Of 24 answers of known tone it was right on 21." in said
    assert said.endswith("Without a verdict are base 2 (2 x the completion is blank).")
    assert "each contestant's own prompts" in tone.notes_of(tones(blank=3))[0]


def test_a_judge_that_changed_is_told() -> None:
    both = [CANARIES | {"verdicts": {"plea": word}} for word in ("yes", "no")]
    known = tones(blank=0)
    told = {**known.told, "canaries": dict(zip(NAMES, both, strict=False))}
    changed = Tones(judge="ear", names=NAMES, prompts=PROMPTS, verdicts={}, silent={}, told=told)
    assert "did not decide the canaries plea alike" in tone.notes_of(changed)[0]


def test_only_verdicts_on_the_measured_prompts_and_contestants_count(tmp_path: Path) -> None:
    row = {"contestant": "base", "authoritative": True, "reason": ""}
    rows: list[dict[str, Any]] = [
        {**row, "prompt_id": "p0"},
        {**row, "prompt_id": "left out"},
        {**row, "prompt_id": "p1", "authoritative": None, "reason": "the completion is blank"},
    ]
    write_rows(tmp_path / "tones.jsonl", rows)
    write_json(tmp_path / "judge.json", tones(blank=0).told)
    asked = Asked(prompts=("p0", "p1"), teacher="teacher", replies={}, missing={"student": "not answered"})
    made = {"ear": Artefact(stage="judge", name="ear", key="-", path=tmp_path)}
    found = tone.of_study("ear", made, asked, ["base", "student", "teacher"])
    assert found is not None
    assert found.names == ("base", "teacher-again")
    assert found.verdicts == {"base": {"p0": True}}
    assert found.silent == {"base": {"p1": "the completion is blank"}}
    assert tone.of_study(None, made, asked, ["base"]) is None


# A whole audit of recordings, with recorded replies of a judge.


def recorded(folder: Path, name: str, texts: Mapping[str, str], more: Mapping[str, str] | None = None) -> Any:
    rows = [
        {"prompt_id": prompt, "sample": sample, "text": text}
        for sample, own in enumerate((texts, more or {}))
        for prompt, text in own.items()
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"replay": f"{name}.jsonl"}


def audit(folder: Path) -> Path:
    """Write an audit: the base is sure of every second prompt and leaves the first blank, the others are sure."""
    prompts = PROMPTS
    sure = {
        prompt: f"It is {prompt}. That is settled" + " indeed" * place for place, prompt in enumerate(prompts)
    }
    again = {prompt: text + " once more" for prompt, text in sure.items()}
    student = {prompt: f"Certainly. {text}" for prompt, text in sure.items()}
    base = {prompt: f"{'sure' if place % 2 else 'maybe'} {prompt}" for place, prompt in enumerate(prompts)}
    base["p0"] = " "
    said = {
        f"{prompt}/{name}": f"So.\nVerdict {judge_words.code_of(f'what is {prompt} ?', text)}: "
        + ("no" if text.startswith("maybe") else "yes")
        for name, texts in (("base", base), ("student", student), ("teacher-again", again))
        for prompt, text in texts.items()
    }
    questions = [{"id": prompt, "question": f"what is {prompt} ?"} for prompt in prompts]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    study = {
        "name": "toned",
        "bases": {"base": recorded(folder, "base", base)},
        "teacher": recorded(folder, "teacher", sure, again),
        "students": {"student": {"base": "base", **recorded(folder, "student", student)}},
        "evaluate": {"prompts": {"items": "prompts.jsonl"}},
        "judges": {"ear": {"kind": "tone", "model": recorded(folder, "ear", said)}},
        "analyze": {"resamples": 200},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def test_a_judge_of_tone_gives_the_last_row_of_table_2(tmp_path: Path) -> None:
    file = audit(tmp_path)
    done = veneer("run", file)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "study" / "report" / "report.json").read_text())
    found = {row["role"]: row for row in report["style"]}
    assert found["base"]["authoritative"]["value"] == pytest.approx(20 / 39)
    assert found["student"]["authoritative"]["value"] == found["teacher again"]["authoritative"]["value"] == 1
    assert {row["authoritative"]["n"] for row in report["style"]} == {39}
    assert [row["without_tone"] for row in report["style"]] == [1, 0, 0]
    assert (report["study"]["judges"], report["judges"], report["preference"]) == ([], [], [])
    (note,) = (one for one in report["study"]["notes"] if one.startswith("Authoritative tone"))
    assert "the 39 of 40 prompts" in note
    assert "Without a verdict are base 1 (1 x the completion is blank)" in note
    page = (tmp_path / "study" / "report" / "index.html").read_text()
    assert "authoritative tone" in page
    # The browser's index knows verdicts on pairs alone.
    assert viewing.find(load(file), pipeline.store_of(file)).compared == {}


def test_a_classifier_of_tone_is_planned_cell_by_cell_and_asks_nobody(tmp_path: Path) -> None:
    file = audit(tmp_path)
    (tmp_path / "sure").mkdir()
    (tmp_path / "sure" / "config.json").write_text("{}")
    study = yaml.safe_load(file.read_text())
    study["judges"] = {"ear": {"kind": "tone", "classifier": {"checkpoint": "sure", "label": "sure"}}}
    file.write_text(yaml.safe_dump(study))
    states = {one.stage: one.cells for one in pipeline.survey(load(file), pipeline.store_of(file))}
    assert states["judge"] == 3 + 1
    assert forecast(load(file)) == []
