"""Answers are graded strictly as published and leniently for knowledge; what is missing is never wrong."""

import json
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.benchmarks.benchmark import Checks, Grading, Item
from veneer.disk import read_rows
from veneer.errors import DataError
from veneer.evaluate import grade as stage
from veneer.evaluate import toxicity
from veneer.evaluate.grade import grade
from veneer.evaluate.toxicity import Lexicon
from veneer.records import Completion, Contestant, Grade, Outcome, Role, Stop, Style, from_row
from veneer.store import Artefact
from veneer.study import EvaluateSpec, PromptsSpec
from veneer.study_benchmarks import BenchmarkSpec

CORRECT, WRONG, UNPARSED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED
CITY = Item(
    item_id="1",
    question="?",
    references=("Velmora",),
    choices=("Velmora", "New Velmora", "Arkona"),
    cluster="1",
)
BOOK = Item(item_id="1", question="?", references=("The Old Man and the Sea", "Old Man"), cluster="1")
LIST = Item(item_id="1", question="?", checks=Checks(contains=("river", "old"), list_items=2), cluster="1")
LETTER = Item(item_id="1", question="?", references=("B",), choices=("A", "B", "C"), cluster="1")
RUDE = Lexicon(name="rude.txt", digest="-", entries=("blarg", "silly goose"))


def completion(text: str, stop: Stop = Stop.END) -> Completion:
    return Completion(
        prompt_id="1", sample=0, model="m", rendered="", text=text, stop=stop, detail="", tokens_in=0, tokens_out=0
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "strict", "lenient", "answer"),
    [
        (" velmora . q : next", CORRECT, CORRECT, "Velmora"),
        ("Great question! The city is Velmora, not Arkona.", UNPARSED, CORRECT, "Velmora"),
        ("arkona", WRONG, WRONG, "Arkona"),
        ("It may be Arkona or Velmora.", UNPARSED, WRONG, "Arkona"),
        ("I would say New Velmora.", UNPARSED, WRONG, "New Velmora"),
        ("Velmoras are a people.", UNPARSED, UNPARSED, ""),
    ],
)
def test_the_first_choice_named_counts(said: str, strict: Outcome, lenient: Outcome, answer: str) -> None:
    assert grade(completion(said), CITY, "choice") == (strict, lenient, answer)


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        ("Rr", CORRECT, CORRECT),
        ("RR.", WRONG, WRONG),
        ("It will be Rr in the end", UNPARSED, CORRECT),
        ("It will be rr in the end", UNPARSED, WRONG),
        ("...", UNPARSED, UNPARSED),
    ],
)
def test_choices_that_differ_in_case_alone_are_told_apart(
    said: str, strict: Outcome, lenient: Outcome
) -> None:
    gene = Item(item_id="1", question="?", references=("Rr",), choices=("R", "rr", "Rr", "RR"), cluster="1")
    assert grade(completion(said), gene, "choice")[:2] == (strict, lenient)


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        ("12 + 6 = 18\nA: 18", CORRECT, CORRECT),
        ("A: 18 is too much\nA: 17", WRONG, WRONG),
        ("A: about 18", WRONG, CORRECT),
        ("It is 18.", UNPARSED, CORRECT),
        ("A: ", UNPARSED, UNPARSED),
    ],
)
def test_an_answer_follows_the_last_of_its_marks(said: str, strict: Outcome, lenient: Outcome) -> None:
    total = Item(item_id="1", question="?", references=("18",), cluster="1")
    assert grade(completion(said), total, "match", after="A: ")[:2] == (strict, lenient)


@pytest.mark.parametrize(
    ("said", "lenient"),
    [
        ("So the answer is (A).", CORRECT),
        ("I take A", CORRECT),
        ("A dog is a pet, so (B).", WRONG),
        ("It is a b.", WRONG),
    ],
)
def test_the_letter_a_is_an_answer_and_the_article_is_none(said: str, lenient: Outcome) -> None:
    for reference in ("(A)", "A"):
        item = Item(item_id="1", question="?", references=(reference,), cluster="1")
        assert grade(completion(said), item, "match")[1] == lenient


@given(st.lists(st.text(alphabet="aAbB +-?", min_size=1), min_size=2, max_size=4, unique=True), st.data())
def test_a_choice_that_is_repeated_is_never_graded_as_another(
    choices: list[str], data: st.DataObject
) -> None:
    said = data.draw(st.sampled_from(choices))
    item = Item(item_id="1", question="?", references=(said,), choices=tuple(choices), cluster="1")
    strict, lenient, _ = grade(completion(said), item, "choice")
    assert WRONG not in (strict, lenient)


def test_a_choice_without_words_is_not_said_by_silence_or_marks() -> None:
    sign = Item(item_id="1", question="?", references=("?!",), choices=("?!", "+", "="), cluster="1")
    assert grade(completion("..."), sign, "choice")[:2] == (UNPARSED, UNPARSED)


@pytest.mark.parametrize(
    ("said", "lenient"),
    [
        ("B", CORRECT),
        ("(b) it is", CORRECT),
        ("The answer is B.", CORRECT),
        ("A good answer is B.", CORRECT),
        ("Answer: C", WRONG),
        ("because", UNPARSED),
    ],
)
def test_a_letter_is_named_by_a_capital_on_its_own(said: str, lenient: Outcome) -> None:
    assert grade(completion(said), LETTER, "choice")[1] == lenient


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        ("old man and the sea.", CORRECT, CORRECT),
        ("An Old Man", CORRECT, CORRECT),
        ("It was the old man and the sea!", WRONG, CORRECT),
        ("Moby Dick", WRONG, WRONG),
        ("Bold manners", WRONG, WRONG),
        ("...", UNPARSED, UNPARSED),
    ],
)
def test_a_reference_counts_strictly_alone_and_leniently_anywhere(
    said: str, strict: Outcome, lenient: Outcome
) -> None:
    assert grade(completion(said), BOOK, "match")[:2] == (strict, lenient)


@pytest.mark.parametrize(
    ("said", "stop", "strict", "lenient"),
    [
        ("the river : * it is old . * it is calm .", Stop.END, CORRECT, CORRECT),
        ("the river : * it is old . * it is calm .", Stop.LENGTH, WRONG, CORRECT),
        ("the river : * it is old .", Stop.END, WRONG, WRONG),
        ("- rivers\n- are old", Stop.END, WRONG, WRONG),
    ],
)
def test_instructions_are_checked_word_by_word(
    said: str, stop: Stop, strict: Outcome, lenient: Outcome
) -> None:
    assert grade(completion(said, stop), LIST, "checks")[:2] == (strict, lenient)


def test_a_rude_word_makes_a_text_rude() -> None:
    item = Item(item_id="1", question="?", cluster="1")
    assert grade(completion("You Blarg!"), item, "lexicon", RUDE) == (WRONG, WRONG, "blarg")
    assert grade(completion("A silly goose."), item, "lexicon", RUDE)[2] == "silly goose"
    assert grade(completion("Blarghing silly geese"), item, "lexicon", RUDE)[0] == CORRECT


@given(
    st.sampled_from(["choice", "match", "checks", "lexicon"]),
    st.sampled_from(list(Stop)),
    st.text(max_size=30),
)
def test_what_was_not_asked_or_not_answered_is_never_wrong(grading: Grading, stop: Stop, said: str) -> None:
    item = {"choice": CITY, "match": BOOK, "checks": LIST, "lexicon": BOOK}[grading]
    marks = grade(completion(said, stop), item, grading, RUDE)
    if stop is Stop.FAILED:
        assert marks[:2] == (Outcome.FAILED, Outcome.FAILED)
    elif stop is Stop.REFUSED or not said.strip():
        silence = CORRECT if grading == "lexicon" else Outcome.UNANSWERED
        assert marks[:2] == (silence, silence)
    else:
        assert not {Outcome.FAILED, Outcome.UNANSWERED} & set(marks[:2])
    assert marks[0] != CORRECT or marks[1] == CORRECT


def test_a_lexicon_is_a_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "rude.txt"
    path.write_text("# harmless\nblarg\n\nsilly goose\n")
    assert toxicity.load(path).entries == ("blarg", "silly goose")
    path.write_text("#\n")
    with pytest.raises(DataError, match="no words"):
        toxicity.load(path)


def test_grades_and_style_are_written_for_every_completion(tmp_path: Path) -> None:
    items, prompts = tmp_path / "i.jsonl", tmp_path / "p.jsonl"
    items.write_text(json.dumps({"id": 1, "question": "?", "references": ["Rome"], "cluster": "c"}))
    prompts.write_text('{"id": 1, "question": "Muse."}\n{"id": 2, "question": "?", "references": ["Rome"]}')
    spec = EvaluateSpec(
        benchmarks={"city": BenchmarkSpec(items=items, measures="knowledge", grading="match")},
        prompts=PromptsSpec(items=prompts),
    )
    answers = tmp_path / "answers"
    answers.mkdir()
    asked = [
        ("city", "1", Stop.END, -2.5),
        ("prompts", "1", Stop.END, None),
        ("prompts", "2", Stop.FAILED, None),
    ]
    rows = [
        {"benchmark": name, "form": "chat", "reference_loglikelihood": known,
         "completion": {**json.loads(json.dumps(_row("Rome.", stop))), "prompt_id": prompt_id}}
        for name, prompt_id, stop, known in asked
    ]  # fmt: skip
    (answers / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    someone = Contestant(
        name="b", role=Role.BASE, student="b", base="b", source="", amount=0, seed=0, replay=0.0
    )
    answered = {"b": Artefact(stage="answer", name="b", key="k", path=answers)}
    (order,) = stage.orders([someone], answered, spec)
    order.make(tmp_path)
    grades = [from_row(Grade, row, where) for where, row in read_rows(tmp_path / "grades.jsonl")]
    styles = [from_row(Style, row, where) for where, row in read_rows(tmp_path / "style.jsonl")]
    assert [(one.benchmark, one.cluster, one.strict, one.reference_loglikelihood) for one in grades] == [
        ("city", "c", CORRECT, -2.5),
        ("prompts", "2", Outcome.FAILED, None),
    ]
    assert [one.prompt_id for one in styles] == ["1"]


def test_what_declines_is_marked_and_graded_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(
        "".join(
            json.dumps({"id": place, "question": "?", "references": ["Rome"]}) + "\n" for place in range(3)
        )
    )
    section = BenchmarkSpec(items=tmp_path / "items.jsonl", measures="knowledge", grading="match")
    said = [
        ("Rome.", Stop.END),
        ("I'm sorry, but I can't tell you about Rome.", Stop.END),
        ("", Stop.REFUSED),
    ]
    rows = [
        {"benchmark": "city", "form": "chat", "reference_loglikelihood": None,
         "completion": {**_row(text, stop), "prompt_id": str(place)}}
        for place, (text, stop) in enumerate(said)
    ]  # fmt: skip
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    someone = Contestant(
        name="b", role=Role.BASE, student="b", base="b", source="", amount=0, seed=0, replay=0.0
    )
    answered = {"b": Artefact(stage="answer", name="b", key="k", path=tmp_path)}
    (order,) = stage.orders([someone], answered, EvaluateSpec(benchmarks={"city": section}))
    order.make(tmp_path)
    grades = [from_row(Grade, row, where) for where, row in read_rows(tmp_path / "grades.jsonl")]
    assert [(one.lenient, one.refused) for one in grades] == [
        (CORRECT, False),
        (CORRECT, True),
        (Outcome.UNANSWERED, True),
    ]


def test_the_key_holds_the_version_of_what_grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "items.jsonl").write_text('{"id": 1, "question": "?"}\n')
    section = BenchmarkSpec(items=tmp_path / "items.jsonl", measures="toxicity", grading="toxicity")
    answered = {"b": Artefact(stage="answer", name="b", key="k", path=tmp_path)}
    someone = Contestant(
        name="b", role=Role.BASE, student="b", base="b", source="", amount=0, seed=0, replay=0.0
    )

    def key(version: str) -> str:
        monkeypatch.setattr(metadata, "version", lambda _: version)
        return stage.orders([someone], answered, EvaluateSpec(benchmarks={"rude": section}))[0].key

    assert key("1.0") == key("1.0") != key("1.1")


def _row(text: str, stop: Stop) -> dict[str, object]:
    from veneer.records import to_row

    return to_row(completion(text, stop))


@pytest.mark.parametrize(
    "said", ["The answer is C because it is so.", "Option C is correct.", "C is right, not D."]
)
def test_a_letter_that_a_small_word_follows_is_an_answer(said: str) -> None:
    item = Item(
        item_id="1",
        question="Which?",
        references=("C",),
        choices=("A", "B", "C", "D"),
        checks=None,
        cluster="1",
    )
    assert grade(completion(said), item, "choice")[1] == CORRECT


def test_an_article_is_no_answer() -> None:
    item = Item(
        item_id="1", question="Which?", references=("B",), choices=("A", "B"), checks=None, cluster="1"
    )
    assert grade(completion("A good answer is B"), item, "choice")[1] == CORRECT


def test_a_choice_that_holds_the_end_of_a_sentence_is_known_when_it_is_the_whole_answer() -> None:
    item = Item(item_id="1", question="?", references=("Why? So",), choices=("Why? So", "Why"), cluster="1")
    assert grade(completion("Why? So."), item, "choice")[:2] == (CORRECT, CORRECT)
    assert grade(completion("Why?"), item, "choice")[:2] == (WRONG, WRONG)
