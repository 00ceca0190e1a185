"""Preparing a source: every row is kept or dropped, the card adds up, and a key knows what shapes the result."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from veneer.disk import digest, read_json, read_rows, write_rows
from veneer.errors import DataError, ModelError, StudyError
from veneer.models.encode import TooLongError
from veneer.prepare import card
from veneer.prepare.duplicates import query_of
from veneer.prepare.feeds import Feed, feeds_of
from veneer.prepare.make import Job, card_orders, orders, prepare
from veneer.prepare.overlap import HeldOut
from veneer.prepare.sift import Piece
from veneer.records import Example, Message, from_row
from veneer.store import Artefact, Store
from veneer.study_data import MixtureSpec, NearSpec, PrepareSpec, RecordedSpec, SourceSpec

ROWS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", "e f", "E  f?", "g"]),
            st.sampled_from(["", "x", "x x", "a b c d e f"]),
        ),
        st.just(None),
    ),
    min_size=1,
    max_size=20,
).filter(any)
UNKNOWN, END = {"unk_token": "<unk>"}, {"eos_token": "<eos>"}
SAID = {"broad": {"licence": "", "origin": ""}}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(0, 3))
def test_the_card_adds_up_to_the_files(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str] | None], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(_job(folder, rows, PrepareSpec(seed=seed)), _words, folder)
    profile = read_json(folder / "profile.json")
    examples, dropped = _examples(folder), [row for _, row in read_rows(folder / "dropped.jsonl")]
    assert profile["read"] == len(rows) == profile["kept"] + profile["dropped"]
    assert (profile["conversations"], profile["dropped"]) == (len(examples), len(dropped))
    assert sum(profile["reasons"].values()) == profile["dropped"]
    assert sum(feed["read"] for feed in profile["feeds"]) == profile["read"]
    assert profile["tokens"] == sum(example.tokens for example in examples)
    assert len({example.example_id for example in examples}) == len(examples)
    queries = [query_of(example.messages) for example in examples]
    assert len(queries) == len(set(queries))


def test_a_duplicate_names_the_row_that_stands_for_it(tmp_path: Path) -> None:
    prepare(_job(tmp_path, [("A ?", "x"), ("a", "x"), ("b", "y")], PrepareSpec()), _words, tmp_path)
    (row,) = [row for _, row in read_rows(tmp_path / "dropped.jsonl")]
    assert (row["kind"], row["example_id"], row["kept_instead"]) == ("duplicate query", "2", "1")


def test_the_row_that_stands_for_a_duplicate_is_kept_even_where_a_near_duplicate_stood_between(
    tmp_path: Path,
) -> None:
    long = " ".join(f"word{place}" for place in range(100))
    rows = [("tell me", long), ("tell me more", long + " end"), ("Tell me more!", "short answer")]
    prepare(_job(tmp_path, rows, PrepareSpec()), _words, tmp_path)
    assert [row["kept_instead"] for _, row in read_rows(tmp_path / "dropped.jsonl")] == ["1", "1"]


def test_a_query_whose_first_answer_is_too_long_is_kept_with_the_next(tmp_path: Path) -> None:
    def cut(messages: Sequence[Message]) -> list[Piece]:
        if "huge" in messages[-1].content:
            raise TooLongError("one exchange has 9 tokens, and a row holds 3")
        return _words(messages)

    prepare(_job(tmp_path, [("a", "huge"), ("a", "x"), ("a", "y")], PrepareSpec()), cut, tmp_path)
    assert [example.example_id for example in _examples(tmp_path)] == ["2"]
    (repeated,) = read_json(tmp_path / "profile.json")["duplicates"]["asked_before"]
    assert repeated == {
        "asked_in": "broad",
        "first_asked_in": "broad",
        "rows": 2,
        "duplicates": 1,
        "dropped_otherwise": 0,
        "kept": 1,
    }


def test_no_piece_takes_the_name_of_another_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"id": name, "q": name, "a": "x"} for name in ("1", "1/1", "1/2")])
    job = replace(
        _job(tmp_path / "in", [("a", "x")], PrepareSpec()),
        feeds=tuple(feeds_of("broad", {"broad": _recorded(tmp_path / "rows.jsonl")}, None, {})),
    )

    def cut(messages: Sequence[Message]) -> list[Piece]:
        return [(tuple(messages), 2)] * (2 if messages[0].content == "1" else 1)

    prepare(job, cut, tmp_path)
    assert sorted(example.example_id for example in _examples(tmp_path)) == ["1/1", "1/1#", "1/2", "1/2#"]


def test_the_second_samples_of_the_card_answer_the_queries_that_are_kept(tmp_path: Path) -> None:
    feeds, tokenizer, items = _study(tmp_path, samples=2)
    (order,) = orders({"broad": feeds}, PrepareSpec(near_duplicates=None), tokenizer, [HeldOut(path=items)])
    made = Store(root=tmp_path / "store").build(order)
    style = read_json(made.path / "profile.json")["style"]
    assert (style["n"], style["again"]["n"]) == (2, 2)


def test_a_conversation_that_the_counting_template_refuses_is_named(tmp_path: Path) -> None:
    def cut(messages: Sequence[Message]) -> list[Piece]:
        raise ModelError("The chat template refuses a conversation")

    with pytest.raises(DataError, match="broad, row 1: The chat template refuses"):
        prepare(_job(tmp_path, [("a", "x")], PrepareSpec()), cut, tmp_path)


def test_a_near_duplicate_names_its_twin_and_how_alike_they_are(tmp_path: Path) -> None:
    long = " ".join(f"word{place}" for place in range(100))
    rows = [("tell me", long), ("tell me more", long + " end"), ("else", "short answer")]
    prepare(_job(tmp_path, rows, PrepareSpec(near_duplicates=NearSpec())), _words, tmp_path)
    (row,) = [row for _, row in read_rows(tmp_path / "dropped.jsonl")]
    assert (row["kind"], row["example_id"], row["kept_instead"]) == ("near-duplicate", "2", "1")
    assert row["detail"].startswith("0.9")


def test_an_item_that_is_asked_takes_its_example_out_and_is_listed(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "items.jsonl", [{"id": "i7", "question": "Why so?"}, {"id": "i8", "question": "Who?"}]
    )
    job = replace(
        _job(tmp_path, [("why so", "x"), ("b", "y")], PrepareSpec()),
        held_out=(HeldOut(path=tmp_path / "items.jsonl"),),
    )
    prepare(job, _words, tmp_path)
    (row,) = [row for _, row in read_rows(tmp_path / "dropped.jsonl")]
    assert row["detail"] == "item i7 of items.jsonl (exact)"
    (item,) = [row for _, row in read_rows(tmp_path / "overlaps.jsonl")]
    assert (item["item"], item["matches"]["exact"]["rows"]) == ("i7", 1)


def test_a_malformed_row_is_set_aside_whole(tmp_path: Path) -> None:
    prepare(_job(tmp_path, [("a", "x"), None], PrepareSpec()), _words, tmp_path)
    (row,) = [row for _, row in read_rows(tmp_path / "dropped.jsonl")]
    assert row["kind"] == "malformed row"
    assert "rows.jsonl:2" in row["example_id"]
    assert "nothing" in row["raw"]


def test_a_conversation_longer_than_a_block_is_split_and_one_long_exchange_is_dropped(tmp_path: Path) -> None:
    def cut(messages: Sequence[Message]) -> list[Piece]:
        if "huge" in messages[-1].content:
            raise TooLongError("one exchange has 9 tokens, and a row holds 3")
        return [(tuple(messages), 2), (tuple(messages), 1)]

    prepare(_job(tmp_path, [("a", "x"), ("b", "huge")], PrepareSpec()), cut, tmp_path)
    assert [(example.example_id, example.tokens) for example in _examples(tmp_path)] == [
        ("1/1", 2),
        ("1/2", 1),
    ]
    assert read_json(tmp_path / "profile.json")["reasons"] == {"one exchange longer than a block": 1}


def test_a_mixture_names_where_each_example_comes_from(tmp_path: Path) -> None:
    sources = {}
    for name in ("one", "two"):
        write_rows(tmp_path / f"{name}.jsonl", [{"q": f"{name} {place}", "a": "x"} for place in range(9)])
        sources[name] = _recorded(tmp_path / f"{name}.jsonl")
    mixture = MixtureSpec(weights={"one": 2, "two": 1})
    feeds = feeds_of("mix", sources, mixture, {})
    spec = PrepareSpec(near_duplicates=None)
    job = Job(name="mix", feeds=tuple(feeds), mixture=mixture, spec=spec, tokenizer=tmp_path, held_out=())
    prepare(job, _words, tmp_path)
    assert [example.source for example in _examples(tmp_path)].count("one") == 9
    assert {example.example_id.split(":")[0] for example in _examples(tmp_path)} == {"one", "two"}
    profile = read_json(tmp_path / "profile.json")
    assert profile["ran_out"] == "one"
    assert profile["left_over"]["two"] == 9 - (len(_examples(tmp_path)) - 9)


def test_too_little_data_says_how_much_there_is(tmp_path: Path) -> None:
    prepare(_job(tmp_path, [("a", "x x"), ("b", "x"), ("c", "")], PrepareSpec()), _words, tmp_path)
    said = "asks for 1,000 tokens of it, and it has 5, in 2 examples .dropped: 1 empty"
    with pytest.raises(StudyError, match=said):
        card.write("broad", tmp_path, SAID, [3, 1000], tmp_path)


def test_the_page_of_a_card_escapes_what_the_data_says(tmp_path: Path) -> None:
    prepare(_job(tmp_path, [("a", "x"), ("b", "y")], PrepareSpec()), _words, tmp_path)
    said = {"broad": {"licence": "MIT", "origin": "<script>alert(1)</script>"}}
    card.write("broad", tmp_path, said, [3], tmp_path)
    assert "<script>" not in (tmp_path / "card.html").read_text()


def test_a_collected_source_becomes_examples_that_count_with_the_template(tmp_path: Path) -> None:
    feeds, tokenizer, items = _study(tmp_path)
    spec = PrepareSpec(near_duplicates=None)
    (order,) = orders({"broad": feeds}, spec, tokenizer, [HeldOut(path=items)])
    store = Store(root=tmp_path / "store")
    made = store.build(order)
    # <user> why a <asst> so it is <eos>
    assert [row["tokens"] for _, row in read_rows(made.path / "examples.jsonl")] == [8, 8]
    carded = store.build(card_orders({"broad": made}, {"broad": feeds}, [8, 12])[0])
    assert read_json(carded.path / "card.json")["amounts"] == [
        {"amount": 8, "examples": 1, "tokens": 8},
        {"amount": 12, "examples": 2, "tokens": 16},
    ]
    assert [row["kind"] for _, row in read_rows(made.path / "dropped.jsonl")] == [
        "overlap with a held-out item"
    ]


def test_a_key_knows_the_tokenizer_and_not_the_weights(tmp_path: Path) -> None:
    feeds, tokenizer, items = _study(tmp_path)
    keys = []
    for name in ("model.safetensors", "tokenizer_config.json"):
        keys.append(orders({"broad": feeds}, PrepareSpec(), tokenizer, [HeldOut(path=items)])[0].key)
        (tokenizer / name).write_text("{}")
    keys.append(orders({"broad": feeds}, PrepareSpec(), tokenizer, [HeldOut(path=items)])[0].key)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"version": "1.0", "added_tokens": [], "model": {"type": "Nope"}}'),
        ("tokenizer_config.json", "{oops"),
    ],
)
def test_a_damaged_tokenizer_is_named(tmp_path: Path, file: str, content: str) -> None:
    feeds, tokenizer, _ = _study(tmp_path)
    (tokenizer / file).write_text(content)
    (order,) = orders({"broad": feeds}, PrepareSpec(), tokenizer, [])
    with pytest.raises(StudyError, match=f"prepare.tokenizer: the tokenizer in {tokenizer} cannot be loaded"):
        order.make(tmp_path)


def test_another_licence_or_origin_makes_another_card_and_the_same_examples(tmp_path: Path) -> None:
    feeds, tokenizer, _ = _study(tmp_path)
    made = Artefact(stage="prepare", name="broad", key="k", path=tmp_path)
    keys = {}
    for licence, origin in (("", ""), ("MIT", ""), ("", "elsewhere")):
        own = [replace(feed, licence=licence, origin=origin) for feed in feeds]
        (data,) = orders({"broad": own}, PrepareSpec(), tokenizer, [])
        (card_order,) = card_orders({"broad": made}, {"broad": own}, [8])
        keys[card_order.key] = data.key
    assert len(keys) == 3
    assert len(set(keys.values())) == 1


def test_the_card_says_that_a_licence_is_that_of_the_queries_where_the_teacher_answered() -> None:
    source = SourceSpec(kind="broad", queries=Path("q.jsonl"), licence="MIT")
    (feed,) = feeds_of("broad", {"broad": source}, None, {})
    assert feed.said() == {"licence": "MIT (of the queries)", "origin": "the teacher's answers to q.jsonl"}


def test_no_two_feeds_share_a_name() -> None:
    paths = ("a/x.json", "b/x-3.json", "c/x.json", "d/x.json")
    recorded = tuple(RecordedSpec(format="pairs", path=Path(path)) for path in paths)
    found = feeds_of("s", {"s": SourceSpec(kind="broad", recorded=recorded)}, None, {})
    assert [feed.label for feed in found] == ["s/x", "s/x-3", "s/x-2", "s/x-4"]


@pytest.mark.skipif(
    "VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recordings to prepare"
)
def test_alpaca_and_halueval_add_up_their_shared_queries_are_found_and_no_prompt_is_in_them(
    tmp_path: Path,
) -> None:
    data = Path(os.environ["VENEER_DATA"])
    alpaca = RecordedSpec(format="alpaca", path=data / "alpaca" / "alpaca_partial.jsonl.gz")
    halueval = RecordedSpec(
        format="pairs",
        path=data / "halueval_general" / "general_data.json.gz",
        query_field="user_query",
        answer_field="chatgpt_response",
        id_field="ID",
    )
    sources = {
        name: SourceSpec(kind="broad", recorded=(one,))
        for name, one in (("alpaca", alpaca), ("halueval", halueval))
    }
    mixture = MixtureSpec(weights={"alpaca": 1, "halueval": 1})
    koala, vicuna = (
        data / "koala_test_set" / "koala_test_set.jsonl.gz",
        data / "vicuna_bench" / "question.jsonl",
    )
    job = Job(
        name="both",
        feeds=tuple(feeds_of("both", sources, mixture, {})),
        mixture=mixture,
        spec=PrepareSpec(near_duplicates=None),
        tokenizer=tmp_path,
        held_out=(
            HeldOut(path=koala, name="koala", question_field="prompt"),
            HeldOut(path=vicuna, name="vicuna", id_field="question_id", question_field="text"),
        ),
    )
    prepare(job, _words, tmp_path)
    profile = read_json(tmp_path / "profile.json")
    assert profile["read"] == 27_155 + 4_507 == profile["kept"] + profile["dropped"]
    assert [feed["read"] for feed in profile["feeds"]] == [27_155, 4_507]
    for feed in profile["feeds"]:
        assert feed["dropped"] == sum(feed["reasons"].values()) == feed["read"] - feed["kept"]
    assert len(list(read_rows(tmp_path / "dropped.jsonl"))) == profile["dropped"]
    assert profile["conversations"] + sum(profile["left_over"].values()) == profile["kept"]
    (shared,) = [one for one in profile["duplicates"]["asked_before"] if one["asked_in"] == "halueval"]
    assert (shared["first_asked_in"], shared["rows"]) == ("alpaca", 2_039)
    assert shared["rows"] == shared["duplicates"] + shared["dropped_otherwise"] + shared["kept"]
    assert [one["kinds"]["exact"] for one in profile["overlap"]] == [{"items": 0, "rows": 0}] * 2


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows: list[tuple[str, str] | None] = [(f"query {number}", "x y z") for number in range(20)]
    for name in ("one", "two"):
        prepare(_job(tmp_path / name / "in", rows, PrepareSpec()), _words, tmp_path / name / "out")
        (tmp_path / name / "out" / ".rows").unlink()
    assert digest(tmp_path / "one" / "out") == digest(tmp_path / "two" / "out")


def test_there_is_nothing_to_prepare_in_an_audit() -> None:
    assert orders({}, PrepareSpec(), None, []) == []


def test_a_study_without_tokenizer_is_told_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="prepare.tokenizer: missing"):
        orders({"broad": []}, PrepareSpec(), None, [])
    with pytest.raises(StudyError, match="holds no tokenizer"):
        orders({"broad": []}, PrepareSpec(), tmp_path, [])


def _words(messages: Sequence[Message]) -> list[Piece]:
    return [(tuple(messages), sum(len(message.content.split()) for message in messages))]


def _recorded(path: Path) -> SourceSpec:
    recorded = RecordedSpec(format="pairs", path=path, query_field="q", answer_field="a")
    return SourceSpec(kind="broad", recorded=(recorded,))


def _job(folder: Path, rows: Sequence[tuple[str, str] | None], spec: PrepareSpec) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "out").mkdir(exist_ok=True)
    path = folder / "rows.jsonl"
    write_rows(path, [{"q": row[0], "a": row[1]} if row else {"nothing": 1} for row in rows])
    feeds = feeds_of("broad", {"broad": _recorded(path)}, None, {})
    return Job(name="broad", feeds=tuple(feeds), mixture=None, spec=spec, tokenizer=folder, held_out=())


def _examples(folder: Path) -> list[Example]:
    return [from_row(Example, row, where) for where, row in read_rows(folder / "examples.jsonl")]


def _study(folder: Path, samples: int = 1) -> tuple[list[Feed], Path, Path]:
    words = {"<unk>": 0, "<eos>": 1, "<user>": 2, "<asst>": 3}
    backend = Tokenizer(models.WordLevel(words, **UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **UNKNOWN, **END)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ 'user' if m.role == 'user' else 'asst' }}> {{ m.content }} "
        "{% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<asst>{% endif %}"
    )
    tokenizer.save_pretrained(folder / "base")
    place = folder / "collected"
    write_rows(place / "queries.jsonl", [{"id": name, "query": f"why {name}"} for name in ("a", "b", "c")])
    rest: dict[str, Any] = {
        "model": "t",
        "rendered": "",
        "stop": "end",
        "detail": "",
        "tokens_in": 1,
        "tokens_out": 1,
    }
    write_rows(
        place / "completions.jsonl",
        [
            {"prompt_id": name, "sample": sample, "text": "so it is", **rest}
            for name in ("a", "b", "c")
            for sample in range(samples)
        ],
    )
    write_rows(folder / "items.jsonl", [{"id": 1, "question": "Why c ?"}])
    artefact = Artefact(stage="collect", name="broad", key="k", path=place)
    source = SourceSpec(kind="broad", queries=folder / "items.jsonl")
    return (
        feeds_of("broad", {"broad": source}, None, {"broad": artefact}),
        folder / "base",
        folder / "items.jsonl",
    )
