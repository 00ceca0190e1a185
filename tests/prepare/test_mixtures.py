from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from veneer.errors import StudyError
from veneer.prepare.duplicates import query_of
from veneer.prepare.mixtures import orders, prefixes, prepare, sift
from veneer.prepare.overlap import HeldOut
from veneer.prepare.readers import Candidate
from veneer.records import Example, Message, Stop, from_row
from veneer.store import Artefact, Store, digest, read_json, read_rows, write_rows
from veneer.study import PrepareSpec

CANDIDATES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e f", "E  f?", "g"]),
        st.text("x ", max_size=6),
        st.sampled_from(Stop),
    ),
    max_size=30,
)
TOKENS = st.lists(st.integers(1, 50), max_size=40)
UNKNOWN, END = {"unk_token": "<unk>"}, {"eos_token": "<eos>"}
AMOUNTS = st.lists(st.integers(1, 300), max_size=5, unique=True).map(sorted)


@given(CANDIDATES)
def test_every_candidate_is_kept_or_dropped_once(rows: list[tuple[str, str, Stop]]) -> None:
    found = sift(_candidates(rows), 1, {"d": "item 1 of held.jsonl"})
    names = [one.example_id for one in found.kept] + [one.example_id for one, _ in found.dropped]
    assert Counter(names) == Counter(str(place) for place in range(len(rows)))


@given(CANDIDATES)
def test_no_two_kept_examples_ask_the_same(rows: list[tuple[str, str, Stop]]) -> None:
    kept = sift(_candidates(rows), 1, {}).kept
    queries = [query_of(one.messages) for one in kept]
    assert len(queries) == len(set(queries))


def test_a_duplicate_says_of_which_and_an_overlap_of_what() -> None:
    rows = [("a", "", Stop.FAILED), ("A ?", "x", Stop.END), ("a", "x", Stop.END), ("d", "x", Stop.END)]
    found = sift(_candidates(rows), 1, {"d": "item 1 of held.jsonl"})
    assert [one.example_id for one in found.kept] == ["1"]
    assert [str(reason) for _, reason in found.dropped] == [
        "failed",
        "duplicate query: the same as 1",
        "overlap with a held-out item: item 1 of held.jsonl",
    ]


@given(TOKENS, AMOUNTS)
def test_amounts_are_nested_and_within_one_example_of_their_target(
    tokens: list[int], amounts: list[int]
) -> None:
    found = prefixes(tokens, amounts)
    if found is None:
        assert sum(tokens) < amounts[-1]
        return
    assert [prefix.examples for prefix in found] == sorted(prefix.examples for prefix in found)
    for prefix in found:
        assert prefix.tokens == sum(tokens[: prefix.examples])
        assert prefix.amount <= prefix.tokens < prefix.amount + tokens[prefix.examples - 1]


@settings(max_examples=25)
@given(CANDIDATES, st.integers(0, 3))
def test_the_card_adds_up_to_the_files(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, Stop]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("prepared")
    sifted = sift(_candidates(rows), 1, {})
    tokens = sum(_words(one.messages) for one in sifted.kept)
    prepare("broad", sifted, _words, [tokens] if tokens else [], folder, rng=np.random.default_rng(seed))
    card = read_json(folder / "card.json")
    examples = [from_row(Example, row, where) for where, row in read_rows(folder / "examples.jsonl")]
    dropped = [row for _, row in read_rows(folder / "dropped.jsonl")]
    assert card["read"] == len(rows) == card["kept"] + card["dropped"]
    assert (card["kept"], card["dropped"]) == (len(examples), len(dropped))
    assert sum(card["reasons"].values()) == card["dropped"]
    assert card["tokens"] == sum(example.tokens for example in examples)
    assert len({example.example_id for example in examples}) == len(examples)
    assert all(prefix["examples"] == len(examples) for prefix in card["amounts"])


def test_the_order_depends_on_the_seed_alone(tmp_path: Path) -> None:
    rows = [(f"query {number}", "x", Stop.END) for number in range(20)]
    digests: list[str] = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(digests))
        prepare("broad", sift(_candidates(rows), 1, {}), _words, [], folder, rng=np.random.default_rng(seed))
        digests.append(digest(folder))
    assert digests[0] == digests[1] != digests[2]


def test_too_little_data_says_how_much_there_is(tmp_path: Path) -> None:
    rows = [("a", "x x", Stop.END), ("b", "x", Stop.END), ("c", "", Stop.FAILED)]
    sifted = sift(_candidates(rows), 1, {})
    said = "asks for 1,000 tokens of it, and it has 5, in 2 examples .dropped: 1 failed"
    with pytest.raises(StudyError, match=said):
        prepare("broad", sifted, _words, [3, 1000], tmp_path, rng=np.random.default_rng(0))


def test_a_collected_source_becomes_an_artefact_that_counts_with_the_template(tmp_path: Path) -> None:
    collected, tokenizer, items = _study(tmp_path)
    (order,) = orders({"broad": collected}, PrepareSpec(), tokenizer, [items], [8, 12])
    made = Store(root=tmp_path / "store").build(order)
    card = read_json(made.path / "card.json")
    # <user> why a <asst> so it is <eos>
    assert [row["tokens"] for _, row in read_rows(made.path / "examples.jsonl")] == [8, 8]
    assert card["amounts"] == [
        {"amount": 8, "examples": 1, "tokens": 8},
        {"amount": 12, "examples": 2, "tokens": 16},
    ]
    assert [row["reason"] for _, row in read_rows(made.path / "dropped.jsonl")] == [
        "overlap with a held-out item: item 1 of items.jsonl"
    ]


def test_a_key_knows_the_tokenizer_and_not_the_weights(tmp_path: Path) -> None:
    collected, tokenizer, items = _study(tmp_path)
    keys = []
    for name in ("model.safetensors", "tokenizer_config.json"):
        keys.append(orders({"broad": collected}, PrepareSpec(), tokenizer, [HeldOut(path=items)], [8])[0].key)
        (tokenizer / name).write_text("{}")
    keys.append(orders({"broad": collected}, PrepareSpec(), tokenizer, [items], [8])[0].key)
    assert keys[0] == keys[1] != keys[2]


def test_there_is_nothing_to_prepare_in_an_audit() -> None:
    assert orders({}, PrepareSpec(), None, [], []) == []


def test_a_study_without_tokenizer_is_told_what_to_name(tmp_path: Path) -> None:
    artefact = Artefact(stage="collect", name="broad", key="k", path=tmp_path)
    with pytest.raises(StudyError, match="prepare.tokenizer: missing"):
        orders({"broad": artefact}, PrepareSpec(), None, [], [])
    with pytest.raises(StudyError, match="holds no tokenizer"):
        orders({"broad": artefact}, PrepareSpec(), tmp_path, [], [])


def _words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)


def _candidates(rows: list[tuple[str, str, Stop]]) -> list[Candidate]:
    return [
        Candidate(
            example_id=str(place),
            messages=(Message(role="user", content=query), Message(role="assistant", content=answer)),
            stop=stop,
            detail="",
        )
        for place, (query, answer, stop) in enumerate(rows)
    ]


def _study(folder: Path) -> tuple[Artefact, Path, Path]:
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
    completion = {
        "sample": 0,
        "model": "t",
        "rendered": "",
        "stop": "end",
        "detail": "",
        "tokens_in": 1,
        "tokens_out": 1,
    }
    write_rows(
        place / "completions.jsonl",
        [{"prompt_id": name, "text": "so it is", **completion} for name in ("a", "b", "c")],
    )
    write_rows(folder / "items.jsonl", [{"id": 1, "question": "Why c ?"}])
    return (
        Artefact(stage="collect", name="broad", key="k", path=place),
        folder / "base",
        folder / "items.jsonl",
    )
