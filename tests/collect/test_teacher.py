from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from veneer.collect.queries import Query
from veneer.collect.teacher import ask, ledger, orders
from veneer.disk import digest, read_rows, write_rows
from veneer.errors import DataError
from veneer.models.model import ModelRef, Sampling
from veneer.records import Completion, Prompt, Stop, from_row
from veneer.store import Store
from veneer.study import EvaluateSpec
from veneer.study_data import CollectSpec, EndpointSpec, PriceSpec, SamplingSpec, SourceSpec

SAMPLING = Sampling(temperature=0.7, max_tokens=8)
QUERIES = [Query(query_id=f"q{number}", text=f"what is {number} ?") for number in range(10)]


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class FakeTeacher:
    """Answers with the query reversed, and dies or fails on demand."""

    dies_at: str = ""
    fails_at: str = ""
    asked: list[str] = field(default_factory=list)
    name: str = "teacher"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        for prompt in prompts:
            if prompt.prompt_id == self.dies_at:
                raise Killed
            self.asked.append(prompt.prompt_id)
            failed = prompt.prompt_id == self.fails_at
            yield Completion(
                prompt_id=prompt.prompt_id,
                sample=0,
                model=self.name,
                rendered=prompt.messages[0].content,
                text="" if failed else prompt.messages[0].content[::-1],
                stop=Stop.FAILED if failed else Stop.END,
                detail="no connection" if failed else "",
                tokens_in=4,
                tokens_out=0 if failed else 4,
            )


@dataclass
class Forgetful(FakeTeacher):
    """Leaves out the last prompt of every call."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        yield from super().generate(prompts[:-1], sampling)


def _opening(teacher: FakeTeacher) -> Callable[[], FakeTeacher]:
    return lambda: teacher


def test_every_query_has_one_completion_in_order(tmp_path: Path) -> None:
    ask(QUERIES, FakeTeacher, SAMPLING, 3, tmp_path)
    rows = [from_row(Completion, row, where) for where, row in read_rows(tmp_path / "completions.jsonl")]
    assert [row.prompt_id for row in rows] == [query.query_id for query in QUERIES]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["completions.jsonl", "queries.jsonl"]


@pytest.mark.parametrize("dies_at", ["q0", "q4", "q9"])
def test_an_interrupted_call_carries_on_and_gives_the_same_bytes(tmp_path: Path, dies_at: str) -> None:
    ask(QUERIES, FakeTeacher, SAMPLING, 3, tmp_path / "whole")
    first, second = FakeTeacher(dies_at=dies_at), FakeTeacher()
    with pytest.raises(Killed):
        ask(QUERIES, _opening(first), SAMPLING, 3, tmp_path / "halves")
    ask(QUERIES, _opening(second), SAMPLING, 3, tmp_path / "halves")
    assert digest(tmp_path / "halves") == digest(tmp_path / "whole")
    kept = int(dies_at[1:]) // 3 * 3
    assert second.asked == [query.query_id for query in QUERIES[kept:]]


def test_nothing_is_asked_again_when_only_the_tidying_was_left(tmp_path: Path) -> None:
    ask(QUERIES, FakeTeacher, SAMPLING, 3, tmp_path)
    whole = digest(tmp_path)
    (tmp_path / "chunks").mkdir()
    again = FakeTeacher()
    ask(QUERIES, _opening(again), SAMPLING, 3, tmp_path)
    assert (again.asked, digest(tmp_path)) == ([], whole)


def test_a_failed_completion_is_kept_as_failed(tmp_path: Path) -> None:
    ask(QUERIES, _opening(FakeTeacher(fails_at="q4")), SAMPLING, 3, tmp_path)
    row = [row for _, row in read_rows(tmp_path / "completions.jsonl")][4]
    assert (row["stop"], row["text"], row["detail"]) == ("failed", "", "no connection")


def test_a_model_that_leaves_a_query_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="asked 3 queries and got 2 completions; ids on one side only: \\['q2'\\]"
    ):
        ask(QUERIES, Forgetful, SAMPLING, 3, tmp_path)


def test_a_recorded_teacher_is_collected_into_an_artefact(tmp_path: Path) -> None:
    sources, teacher = _study(tmp_path)
    (order,) = orders(sources, teacher, _spec(sources, 0.7), EvaluateSpec(batch_size=2))
    made = Store(root=tmp_path / "store").build(order)
    texts = [row["text"] for _, row in read_rows(made.path / "completions.jsonl")]
    assert texts == ["one", "two", ""]


def test_a_key_knows_the_settings_and_not_the_place(tmp_path: Path) -> None:
    keys = []
    for place in ("here", "there"):
        sources, teacher = _study(tmp_path / place)
        keys.append(orders(sources, teacher, _spec(sources, 0.7), EvaluateSpec(batch_size=2))[0].key)
    other = orders(sources, teacher, _spec(sources, 0.6), EvaluateSpec(batch_size=2))[0].key
    assert keys[0] == keys[1] != other


def _spec(sources: dict[str, SourceSpec], temperature: float) -> CollectSpec:
    return CollectSpec(sources=sources, sampling=SamplingSpec(temperature=temperature))


def _study(folder: Path) -> tuple[dict[str, SourceSpec], ModelRef]:
    queries, said = folder / "queries.jsonl", folder / "said.jsonl"
    write_rows(queries, [{"id": name, "query": f"say {name}"} for name in ("a", "b", "c")])
    write_rows(said, [{"prompt_id": "a", "text": "one"}, {"prompt_id": "b", "text": "two"}])
    teacher = ModelRef(name="teacher", kind="replay", path=said, digest=digest(said))
    return {"broad": SourceSpec(queries=queries, kind="broad")}, teacher


def test_what_a_server_did_not_count_has_no_price(tmp_path: Path) -> None:
    endpoint = EndpointSpec(url="http://host", model="m", price=PriceSpec(input=1.0, output=2.0))
    rows = [
        {"stop": "end", "tokens_in": 1_000_000, "tokens_out": 500_000},
        {"stop": "failed", "tokens_in": 0, "tokens_out": 0},
    ]
    write_rows(tmp_path / "completions.jsonl", rows)
    assert ledger(tmp_path, endpoint)["dollars"]["value"] == 2.0
    write_rows(tmp_path / "completions.jsonl", [*rows, {"stop": "end", "tokens_in": 0, "tokens_out": 0}])
    assert "did not count the tokens of 1 answers" in ledger(tmp_path, endpoint)["dollars"]["undefined"]
