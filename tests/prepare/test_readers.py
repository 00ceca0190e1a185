import gzip
import json
import os
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veneer.errors import DataError
from veneer.prepare.readers import Candidate, Malformed, recorded
from veneer.study_data import Format, HubSpec, RecordedSpec

FORMATS: tuple[Format, ...] = ("sharegpt", "hc3", "alpaca", "messages", "pairs")
USER, ASSISTANT = {"role": "user", "content": "why ?"}, {"role": "assistant", "content": "so ."}
GOOD = {"messages": [USER, ASSISTANT]}

Turns = list[tuple[str, str]]
WHOLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=30)
CONVERSATIONS: st.SearchStrategy[Turns] = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), WHOLE), min_size=1, max_size=5
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "id conversations items from role value content question chatgpt_answers instruction input output "
                "messages query answer tool_calls type text".split()
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "x", "conversations": [{"from": "human", "value": "why ?"}, {"from": "gpt", "value": "so ."}]},
        {"id": "x", "items": [{"from": "human", "value": "why ?"}, {"from": "gpt", "value": "so ."}]},
        {"id": "x", "conversation": [USER, ASSISTANT]},
        {"id": "x", "conversations": [{"from": "User", "value": "why ?"}, {"role": "bing", "value": "so ."}]},
    ],
)
def test_all_shapes_of_sharegpt_are_read(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = recorded(RecordedSpec(format="sharegpt", path=_json(tmp_path, [row])))
    assert isinstance(found, Candidate)
    assert (found.example_id, _turns(found)) == ("x", [("user", "why ?"), ("assistant", "so .")])


def test_an_answer_in_html_becomes_markdown_and_a_question_stays(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<p>why ?</p>"}, {"from": "gpt", "value": "<p>so <b>it</b> is</p>"}]
    (found,) = recorded(RecordedSpec(format="sharegpt", path=_json(tmp_path, [{"items": turns}])))
    assert _turns(found) == [("user", "<p>why ?</p>"), ("assistant", "so **it** is")]


def test_turns_in_the_wrong_order_are_left_to_the_filters(tmp_path: Path) -> None:
    turns = [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}, {"from": "human", "value": "c"}]
    (found,) = recorded(RecordedSpec(format="sharegpt", path=_json(tmp_path, [{"conversations": turns}])))
    assert _turns(found) == [("assistant", "a"), ("user", "b"), ("user", "c")]


def test_every_answer_of_an_hc3_row_is_a_candidate(tmp_path: Path) -> None:
    made = [{"question": "q", "chatgpt_answers": ["a", "b"]}, {"question": "r", "chatgpt_answers": ["c"]}]
    found = _candidates(RecordedSpec(format="hc3", path=_lines(tmp_path, made)))
    assert [(one.example_id, _turns(one)[1][1]) for one in found] == [
        ("1-1", "a"),
        ("1-2", "b"),
        ("2-1", "c"),
    ]


@pytest.mark.parametrize(
    ("given_input", "query"), [("", "do"), ("  ", "do"), (None, "do"), ("it", "do\n\nit")]
)
def test_an_alpaca_input_follows_its_instruction(tmp_path: Path, given_input: Any, query: str) -> None:
    row = {"instruction": "do", "input": given_input, "output": "done"}
    (found,) = recorded(RecordedSpec(format="alpaca", path=_lines(tmp_path, [row])))
    assert _turns(found) == [("user", query), ("assistant", "done")]


def test_a_message_in_text_parts_is_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "wh"}, {"type": "text", "text": "y ?"}]
    row = {"messages": [{"role": "user", "content": parts, "name": "ann"}, ASSISTANT]}
    (found,) = recorded(RecordedSpec(format="messages", path=_lines(tmp_path, [row])))
    assert _turns(found)[0] == ("user", "why ?")


def test_pairs_are_read_by_the_named_fields(tmp_path: Path) -> None:
    path = _lines(tmp_path, [{"ID": 7, "user_query": "q", "response": "a"}])
    (found,) = _candidates(
        RecordedSpec(
            format="pairs", path=path, query_field="user_query", answer_field="response", id_field="ID"
        )
    )
    assert (found.example_id, _turns(found)) == ("7", [("user", "q"), ("assistant", "a")])


def test_rows_without_ids_are_named_by_place_and_no_name_comes_twice(tmp_path: Path) -> None:
    names = ["a", None, "a#2", "a", "a", "2", ""]
    made = [{**GOOD, **({"id": name} if name is not None else {})} for name in names]
    found = _candidates(RecordedSpec(format="messages", path=_lines(tmp_path, made)))
    assert [one.example_id for one in found] == ["a", "2", "a#2", "a#3", "a#4", "2#2", "7"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, r"the conversation is \[\]; a list of turns is wanted"),
        ({"text": "hello"}, r'lacks `messages`; its fields are \["text"\]'),
        ([1], r"the row is \[1\]; an object is wanted"),
        (
            {"messages": [USER, {"role": "tool", "content": "x"}]},
            'turn 2 is spoken by "tool"; known are system',
        ),
        ({"messages": [USER, {"role": "assistant"}]}, "turn 2 says null; a text is wanted"),
        ({"messages": [USER, {**ASSISTANT, "tool_calls": [{}]}]}, "turn 2 calls a tool"),
        ({"messages": ["why ?"]}, 'turn 1 is "why \\?"; an object is wanted'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part that is no text"),
        ({"messages": [USER, {"role": "assistant", "content": "\ud83d"}]}, r"turn 2 holds half .*U\+D83D"),
        ({"id": [1], **GOOD}, r"`id` holds \[1\]; a text or a number is wanted"),
    ],
)
def test_what_is_no_conversation_is_set_aside_with_its_line(tmp_path: Path, row: Any, reason: str) -> None:
    spec = RecordedSpec(format="messages", path=_lines(tmp_path, [GOOD, row, GOOD]))
    second = list(recorded(spec))[1]
    assert isinstance(second, Malformed)
    assert second.where == "rows.jsonl:2"
    assert json.loads(second.raw) == row
    second.raw.encode()
    assert re.search(reason, second.reason), second.reason


def test_a_line_that_is_no_json_or_no_utf8_costs_only_itself(tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + b"\r\n".join([good, b"{oops", good.replace(b"so", b"s\xff"), b"", good]) + b"\n"
    )
    found = list(recorded(RecordedSpec(format="messages", path=path)))
    assert [(one.where, one.raw[:5]) for one in found if isinstance(one, Malformed)] == [
        ("rows.jsonl:2", "{oops"),
        ("rows.jsonl:3", '{"mes'),
    ]


def test_numbers_that_a_table_made_fractions_name_their_rows_as_before(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    long = "1234567890" * 3 + "12345"
    columns: list[list[Any]] = [
        [1.0, None, float("nan"), 2.5],
        [Decimal(7), Decimal("7.5"), None],
        [Decimal(long), None],
    ]
    for number, ids in enumerate(columns):
        path = tmp_path / f"{number}.parquet"
        said = ["x"] * len(ids)
        parquet.write_table(pyarrow.table({"id": ids, "query": said, "answer": said}), path)
    found = [_candidates(RecordedSpec(format="pairs", path=tmp_path / f"{n}.parquet")) for n in range(3)]
    assert [[one.example_id for one in part] for part in found] == [
        ["1", "2", "3", "2.5"],
        ["7", "7.5", "3"],
        [long, "2"],
    ]


def test_an_alpaca_input_that_a_table_left_out_is_none(tmp_path: Path) -> None:
    path = _lines(tmp_path, [{"instruction": "do", "input": float("nan"), "output": "done"}])
    (found,) = recorded(RecordedSpec(format="alpaca", path=path))
    assert _turns(found)[0] == ("user", "do")


@pytest.mark.parametrize("depth", [*range(900, 1000, 9), 100_000])
def test_a_row_nested_as_deep_as_may_be_is_set_aside(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + '{"messages":' + "[" * depth + "]" * depth + "}\n")
    assert [type(one) for one in recorded(RecordedSpec(format="messages", path=path))] == [
        Candidate,
        Malformed,
    ]


def test_a_row_of_many_megabytes_is_a_row(tmp_path: Path) -> None:
    answer = "so . " * 4_000_000
    path = _lines(tmp_path, [{"messages": [USER, {**ASSISTANT, "content": answer}]}, GOOD])
    assert [len(_turns(one)[1][1]) for one in recorded(RecordedSpec(format="messages", path=path))] == [
        len(answer),
        4,
    ]


@pytest.mark.parametrize("bad", [1, 99, 100, 250])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, bad: int) -> None:
    spec = RecordedSpec(format="alpaca", path=_lines(tmp_path, [GOOD] * bad))
    with pytest.raises(
        DataError, match=rf"first {min(bad, 100)} rows .*'alpaca'.*lacks `instruction`.*Wanted are rows"
    ):
        list(recorded(spec))


def test_malformed_rows_before_the_first_good_one_are_kept(tmp_path: Path) -> None:
    found = list(recorded(RecordedSpec(format="messages", path=_lines(tmp_path, [{}] * 99 + [GOOD]))))
    assert [type(one) for one in found] == [Malformed] * 99 + [Candidate]


@pytest.mark.parametrize("content", ["", "[]", " [\n] ", "\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"{path}: holds no row. Wanted are rows like"):
        list(recorded(RecordedSpec(format="pairs", path=path)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.json: cannot be read"):
        list(recorded(RecordedSpec(format="pairs", path=tmp_path / "none.json")))


@given(
    conversations=st.lists(CONVERSATIONS, min_size=1, max_size=4),
    shape=st.sampled_from(["array", "lines"]),
    packed=st.booleans(),
    ascii_only=st.booleans(),
    form=st.sampled_from(["sharegpt", "messages"]),
)
@settings(deadline=None)
def test_every_conversation_comes_back_whole(
    conversations: list[Turns], shape: str, packed: bool, ascii_only: bool, form: Format
) -> None:
    if form == "sharegpt":
        speakers = {"system": "system", "user": "human", "assistant": "gpt"}
        made: list[Any] = [
            {"conversations": [{"from": speakers[role], "value": text} for role, text in turns]}
            for turns in conversations
        ]
    else:
        made = [
            {"messages": [{"role": role, "content": text} for role, text in turns]} for turns in conversations
        ]
    found = _read_back(form, made, shape=shape, packed=packed, ascii_only=ascii_only)
    assert [_turns(one) for one in found] == conversations


@given(
    pairs=st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=4),
    form=st.sampled_from(["alpaca", "pairs", "hc3"]),
)
@settings(deadline=None)
def test_every_pair_comes_back_whole(pairs: list[tuple[str, str]], form: Format) -> None:
    shapes: dict[Format, list[Any]] = {
        "alpaca": [{"instruction": query, "input": "", "output": answer} for query, answer in pairs],
        "pairs": [{"query": query, "answer": answer} for query, answer in pairs],
        "hc3": [{"question": query, "chatgpt_answers": [answer]} for query, answer in pairs],
    }
    found = _read_back(form, shapes[form], shape="lines", packed=False, ascii_only=True)
    assert [tuple(text for _, text in _turns(one)) for one in found] == pairs


@given(
    junk=st.lists(JUNK, max_size=6), form=st.sampled_from(FORMATS), shape=st.sampled_from(["array", "lines"])
)
@example(junk=[{"id": 1e400, "messages": [USER]}], form="messages", shape="lines")
@settings(deadline=None, max_examples=300)
def test_any_json_is_read_row_for_row_or_refused(junk: list[Any], form: Format, shape: str) -> None:
    with TemporaryDirectory() as name:
        path = _write(Path(name), junk, shape=shape, packed=False, ascii_only=True)
        try:
            found = list(recorded(RecordedSpec(format=form, path=path)))
        except DataError:
            return
    if form == "hc3":
        numbers = {one.example_id.rsplit("-")[0] for one in found if isinstance(one, Candidate)}
        assert len(found) >= len(junk)
        assert numbers
    else:
        assert len(found) == len(junk)
    assert all(one.raw.encode() for one in found if isinstance(one, Malformed))
    assert max(Counter(one.example_id for one in found if isinstance(one, Candidate)).values()) == 1


@given(content=st.binary(max_size=60), form=st.sampled_from(FORMATS))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes, form: Format) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "rows.jsonl"
        path.write_bytes(content)
        with pytest.raises(DataError):
            list(recorded(RecordedSpec(format=form, path=path)))


def test_parquet_is_read_by_batches(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    made = [
        {"id": str(number), "conversations": [{"from": "human", "value": f"q{number}"}]}
        for number in range(2500)
    ]
    made[7]["conversations"] = None  # type: ignore[assignment]
    parquet.write_table(pyarrow.Table.from_pylist(made), tmp_path / "rows.bin")
    found = list(recorded(RecordedSpec(format="sharegpt", path=tmp_path / "rows.bin")))
    assert [one.where for one in found if isinstance(one, Malformed)] == ["rows.bin, row 8"]
    assert len(found) == 2500
    assert _turns(found[-1]) == [("user", "q2499")]


def test_a_hub_data_set_is_read_at_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*names: Any, **options: Any) -> list[Any]:
        asked.append((names, options))
        return [GOOD]

    _hub(monkeypatch, load_dataset)
    (found,) = recorded(_hub_spec())
    assert _turns(found) == [("user", "why ?"), ("assistant", "so .")]
    assert asked == [(("a/b", None), {"split": "train", "revision": "0" * 40, "streaming": False})]


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recordings to read")
@pytest.mark.parametrize(
    ("file", "count", "spec"),
    [
        ("alpaca/alpaca_partial.jsonl.gz", 27155, {"format": "alpaca"}),
        (
            "halueval_general/general_data.json.gz",
            4507,
            {
                "format": "pairs",
                "query_field": "user_query",
                "answer_field": "chatgpt_response",
                "id_field": "ID",
            },
        ),
        ("dolly_3k_human/dolly_3k.json.gz", 2996, {"format": "alpaca"}),
    ],
)
def test_real_recordings_are_read_whole(file: str, count: int, spec: dict[str, Any]) -> None:
    found = list(recorded(RecordedSpec(path=Path(os.environ["VENEER_DATA"]) / file, **spec)))
    assert (len(found), sum(isinstance(one, Candidate) for one in found)) == (count, count)


def _hub(monkeypatch: pytest.MonkeyPatch, load_dataset: Any) -> None:
    package, errors = types.ModuleType("datasets"), types.ModuleType("datasets.exceptions")
    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    errors.DatasetsError = type("DatasetsError", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setitem(sys.modules, "datasets.exceptions", errors)


def _hub_spec() -> RecordedSpec:
    return RecordedSpec(format="messages", hub=HubSpec(name="a/b", revision="0" * 40))


def _candidates(spec: RecordedSpec) -> Iterator[Candidate]:
    for one in recorded(spec):
        assert isinstance(one, Candidate)
        yield one


def _turns(found: Candidate | Malformed) -> Turns:
    assert isinstance(found, Candidate)
    return [(message.role, message.content) for message in found.messages]


def _read_back(
    form: Format, made: Sequence[Any], *, shape: str, packed: bool, ascii_only: bool
) -> list[Candidate | Malformed]:
    with TemporaryDirectory() as name:
        path = _write(Path(name), made, shape=shape, packed=packed, ascii_only=ascii_only)
        return list(recorded(RecordedSpec(format=form, path=path)))


def _write(folder: Path, made: Sequence[Any], *, shape: str, packed: bool, ascii_only: bool) -> Path:
    texts = [json.dumps(row, ensure_ascii=ascii_only) for row in made]
    text = "[" + ",\n".join(texts) + "]" if shape == "array" else "\n".join(texts)
    path = folder / ("rows.json.gz" if packed else "rows.json")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def _json(folder: Path, made: Sequence[Any]) -> Path:
    return _write(folder, made, shape="array", packed=False, ascii_only=True)


def _lines(folder: Path, made: Sequence[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path
