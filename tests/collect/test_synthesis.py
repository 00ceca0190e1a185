"""Synthesis: pairs are parsed, counted and deduplicated until enough stand, whatever interrupts it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.collect.synthesis import expected, identity, parse, synthesise
from veneer.disk import digest, read_rows, write_rows
from veneer.errors import DataError, ModelError
from veneer.models.model import Sampling
from veneer.records import Completion, Prompt, Stop
from veneer.study_data import SynthesisSpec


@dataclass
class Maker:
    """Makes up three pairs a request; every third is the same."""

    dies_after: int = 10**9
    asked: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    name: str = "teacher"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        self.calls.append(len(prompts))
        for prompt in prompts:
            if len(self.asked) == self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(prompt.prompt_id)
            number = prompt.prompt_id.removeprefix("request-")
            text = f"Q: what is {number}\nA: one\n2. **Question:** who is {number}\n**Answer:** two\nQ: the same\nA: x"
            yield Completion(
                prompt_id=prompt.prompt_id, sample=0, model=self.name, rendered=prompt.messages[0].content, text=text,
                stop=Stop.END, detail="", tokens_in=10, tokens_out=31,
            )  # fmt: skip


@dataclass
class Silent(Maker):
    """Writes nothing that could be parsed."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        for one in super().generate(prompts, sampling):
            yield Completion(
                prompt_id=one.prompt_id, sample=0, model=one.model, rendered="", text="I would rather not.",
                stop=Stop.END, detail="", tokens_in=1, tokens_out=1,
            )  # fmt: skip


@dataclass
class Faulty(Maker):
    """The first request fails, the second is refused."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        bad = {"request-0": (Stop.FAILED, "no connection"), "request-1": (Stop.REFUSED, "content_filter")}
        for one in super().generate(prompts, sampling):
            stop, detail = bad.get(one.prompt_id, (one.stop, ""))
            yield replace(one, stop=stop, detail=detail, text="" if detail else one.text)


@dataclass
class Parrot(Maker):
    """Knows one pair."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        for one in super().generate(prompts, sampling):
            yield replace(one, text="Q: who is a pretty boy\nA: Polly")


def spec(folder: Path, pairs: int) -> SynthesisSpec:
    write_rows(
        folder / "seeds.jsonl",
        [{"question": f"seed {number}?", "answer": ["yes", "aye"]} for number in range(10)],
    )
    return SynthesisSpec(seeds=folder / "seeds.jsonl", pairs=pairs, pairs_per_request=3)


def test_exactly_so_many_pairs_stand_and_none_twice(tmp_path: Path) -> None:
    synthesise(spec(tmp_path, 50), Maker(), tmp_path / "made")
    queries = [row["query"] for _, row in read_rows(tmp_path / "made" / "queries.jsonl")]
    answers = [row["text"] for _, row in read_rows(tmp_path / "made" / "completions.jsonl")]
    assert (len(queries), len(set(queries)), set(answers)) == (50, 50, {"one", "two", "x"})


def test_every_request_and_its_pairs_are_accounted_for(tmp_path: Path) -> None:
    synthesise(spec(tmp_path, 50), Maker(), tmp_path / "made")
    log = [row for _, row in read_rows(tmp_path / "made" / "synthesis.jsonl")]
    assert sum(row["new"] for row in log) == 50
    assert all(row["pairs"] == row["new"] + row["beyond"] + row["duplicates"] for row in log)


def test_tokens_of_a_request_are_shared_out_among_its_pairs(tmp_path: Path) -> None:
    synthesise(spec(tmp_path, 3), Maker(), tmp_path / "made")
    rows = [row for _, row in read_rows(tmp_path / "made" / "completions.jsonl")]
    assert (sum(row["tokens_in"] for row in rows), sum(row["tokens_out"] for row in rows)) == (10, 31)


def test_an_interrupted_synthesis_ends_with_the_same_bytes_and_asks_no_wave_again(tmp_path: Path) -> None:
    asked_for = spec(tmp_path, 300)
    synthesise(asked_for, Maker(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        synthesise(asked_for, Maker(dies_after=70), tmp_path / "halves")
    again = Maker()
    synthesise(asked_for, again, tmp_path / "halves")
    assert digest(tmp_path / "whole") == digest(tmp_path / "halves")
    assert "request-0" not in again.asked


def test_requests_differ_in_their_examples(tmp_path: Path) -> None:
    synthesise(spec(tmp_path, 50), Maker(), tmp_path / "made")
    rendered = {row["rendered"] for _, row in read_rows(tmp_path / "made" / "completions.jsonl")}
    assert len(rendered) > 10
    assert all(text.count("Q: seed") == 5 for text in rendered)


def test_a_teacher_that_makes_no_pairs_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"50 requests in a row gave no new pair; 0 of 500 .*I would rather not"
    ):
        synthesise(spec(tmp_path, 500), Silent(), tmp_path / "made")


def test_failed_and_refused_requests_are_counted_and_asked_again(tmp_path: Path) -> None:
    asked_for = spec(tmp_path, 12)
    synthesise(asked_for, Faulty(), tmp_path / "made")
    log = [row for _, row in read_rows(tmp_path / "made" / "synthesis.jsonl")]
    assert [(row["stop"], row["new"], row["detail"]) for row in log[:3]] == [
        ("failed", 0, "no connection"), ("refused", 0, "content_filter"), ("end", 3, ""),
    ]  # fmt: skip
    assert [row["request"] for row in log] == list(range(len(log)))
    with pytest.raises(KeyboardInterrupt):
        synthesise(asked_for, Faulty(dies_after=5), tmp_path / "halves")
    again = Maker()
    synthesise(asked_for, again, tmp_path / "halves")
    assert again.asked[0] == "request-0"


def test_waves_are_as_large_as_the_yield_demands(tmp_path: Path) -> None:
    maker = Maker()
    synthesise(spec(tmp_path, 50), maker, tmp_path / "made")
    # 17 requests if all three pairs of each are new; they gave 35, so that the 15 that lack need 8 more.
    assert maker.calls == [17, 8]


def test_a_teacher_that_repeats_itself_is_not_asked_for_ever(tmp_path: Path) -> None:
    maker = Parrot()
    with pytest.raises(ModelError, match="50 requests in a row gave no new pair; 1 of 500 stand"):
        synthesise(spec(tmp_path, 500), maker, tmp_path / "made")
    assert len(maker.asked) < 200


def test_every_request_is_logged_with_the_seeds_that_it_showed(tmp_path: Path) -> None:
    synthesise(spec(tmp_path, 5), Maker(), tmp_path / "made")
    shown = {row["detail"]: row["rendered"] for _, row in read_rows(tmp_path / "made" / "completions.jsonl")}
    for _, row in read_rows(tmp_path / "made" / "synthesis.jsonl"):
        examples = re.findall(r"seed (\d)\?", shown[f"pair 1 of request {row['request']}"])
        assert row["shots"] == [int(place) for place in examples]


def test_a_seed_is_never_a_pair_whatever_its_case_and_final_marks(tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", [{"question": "WHAT is 0?!", "answer": "one"}])
    asked_for = SynthesisSpec(seeds=tmp_path / "seeds.jsonl", pairs=4)
    synthesise(asked_for, Maker(), tmp_path / "made")
    assert "what is 0" not in [row["query"] for _, row in read_rows(tmp_path / "made" / "queries.jsonl")]


def test_all_that_shapes_a_synthesis_is_in_its_identity(tmp_path: Path) -> None:
    plain = spec(tmp_path, 5)
    changes: list[dict[str, Any]] = [
        {"pairs": 6}, {"shots": 4}, {"pairs_per_request": 2}, {"prompt": tmp_path}, {"fruitless_requests": 3},
    ]  # fmt: skip
    assert identity(plain) not in [identity(plain.model_copy(update=change)) for change in changes]


@pytest.mark.parametrize("row", [{"question": "q"}, {"question": " ", "answer": "a"}, {"answer": ["a"]}])
def test_a_seed_that_is_no_pair_is_an_error(tmp_path: Path, row: dict[str, object]) -> None:
    write_rows(tmp_path / "seeds.jsonl", [row])
    with pytest.raises(DataError, match="seeds.jsonl:1: a seed is like"):
        synthesise(SynthesisSpec(seeds=tmp_path / "seeds.jsonl", pairs=1), Maker(), tmp_path / "made")


@pytest.mark.parametrize("there", ["folder", "binary", "incomplete"])
def test_a_prompt_that_cannot_be_used_is_an_error_before_anything_is_asked(
    tmp_path: Path, there: str
) -> None:
    place = tmp_path / "prompt.txt"
    if there == "folder":
        place.mkdir()
    else:
        place.write_bytes(b"\xff" if there == "binary" else b"{count} pairs, please")
    with pytest.raises(DataError, match=r"prompt\.txt: (cannot be read|lacks)"):
        expected(spec(tmp_path, 5).model_copy(update={"prompt": place}))


@pytest.mark.parametrize(
    "reply",
    [
        "Q: who is ada\nA: a poet",
        "1. Question: who is ada\n   Answer: a poet",
        "**Q1:** who is ada\n**A1:** a poet",
        '{"question": "who is ada", "answer": "a poet"}',
        "Sure! Here are some pairs.\n\nQ: who is ada\nA: a poet\n\nQ: half a pair",
        "Q: who is ada A: a poet",
        "- __Question #1__: who is ada\n- __Answer #1__: a poet",
        "### Q1\n**Q:**\n\nwho is ada\n**A:**\na poet\n\n---\n2.\nI hope this helps: ask again!",
        "Q：who\nis ada\nA：a poet",
        'Here: ```json\n[\n {\n  "question": "who is ada",\n  "answer": "a poet"\n }, {"question": "cu',
        '{"q": "who is ada", "a": "a poet"}',
    ],
)
def test_pairs_are_read_however_they_are_written(reply: str) -> None:
    assert parse(reply, cut=False).pairs == (("who is ada", "a poet"),)


def test_the_last_pair_of_a_cut_reply_is_left_out() -> None:
    found = parse("Q: one\nA: 1\nQ: two\nA: thousan", cut=True)
    assert (found.pairs, found.malformed) == ((("one", "1"),), 1)


def test_an_answer_that_something_follows_was_not_cut() -> None:
    assert len(parse("Q: one\nA: 1\n\nI could go", cut=True).pairs) == 1


def test_an_answer_of_several_lines_stays_whole() -> None:
    assert parse("Q: how\nA: first this\nthen that\n\nBye!", cut=False).pairs == (
        ("how", "first this\nthen that"),
    )


def test_half_pairs_are_counted() -> None:
    found = parse("A: no question\nQ: no answer\nQ: who is ada\nA: a poet\nQ:\nQ: last", cut=False)
    assert (found.pairs, found.malformed) == ((("who is ada", "a poet"),), 4)


def test_a_long_line_of_marks_is_read_at_once() -> None:
    assert parse("q " + "- " * 5000 + "\n" + "{" * 5000 + "\n" + "[" * 5000, cut=False).pairs == ()


@given(st.text(max_size=300), st.booleans())
def test_no_reply_breaks_the_parser(reply: str, cut: bool) -> None:
    assert all(question and answer for question, answer in parse(reply, cut=cut).pairs)
