"""A bundle gives the splits that lie in it, checks them, and says what is missing."""

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from veneer.benchmarks import bundle
from veneer.errors import DataError

ROWS = [{"question": "a, b", "answer": 1}, {"question": "c", "answer": 2}]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)
GSM8K = '{"question": "q", "answer": "1"}\n'


def laid(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def sums(folder: Path, *paths: Path) -> None:
    listed = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths
    ]
    (folder / "SHA256SUMS").write_text("".join(listed))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".jsonl", TEXT.encode()),
        (".jsonl.gz", gzip.compress(TEXT.encode())),
        (".parquet", parquet(ROWS)),
        (".csv", b'question,answer\n"a, b",1\nc,2\n'),
    ],
)
def test_a_split_may_lie_there_in_four_forms(tmp_path: Path, ending: str, content: bytes) -> None:
    path = laid(tmp_path, f"some__set/default/test{ending}", content)
    assert bundle.rows(tmp_path, "some/set", None, "test") == ROWS
    assert bundle.files(tmp_path, "some/set", None, "test") == (path,)


def test_the_parts_of_a_split_are_read_in_their_order(tmp_path: Path) -> None:
    for place, row in enumerate(ROWS):
        laid(tmp_path, f"some__set/x/test-0000{place}-of-00002.parquet", parquet([row]))
    assert bundle.rows(tmp_path, "some/set", "x", "test") == ROWS


def test_the_general_layout_goes_before_the_publishers_files(tmp_path: Path) -> None:
    laid(tmp_path, "gsm8k/test.jsonl", GSM8K.encode())
    assert bundle.rows(tmp_path, "openai/gsm8k", "main", "test") == [{"question": "q", "answer": "1"}]
    laid(tmp_path, "openai__gsm8k/main/test.jsonl", TEXT.encode())
    assert bundle.rows(tmp_path, "openai/gsm8k", "main", "test") == ROWS


def test_a_missing_split_is_an_error_that_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"openai__gsm8k/main/test\.jsonl, .*, gsm8k/test\.jsonl"):
        bundle.rows(tmp_path, "openai/gsm8k", "main", "test")
    with pytest.raises(DataError, match=r"'train' of some/set, configuration default, is missing"):
        bundle.files(tmp_path, "some/set", None, "train")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, ending: str) -> None:
    laid(tmp_path, f"some__set/default/test{ending}", b'a,b\n"1')
    with pytest.raises(DataError, match=rf"test\{ending}: cannot be read"):
        bundle.rows(tmp_path, "some/set", None, "test")


def test_a_listed_file_is_checked(tmp_path: Path) -> None:
    path = laid(tmp_path, "some__set/default/test.jsonl", TEXT.encode())
    sums(tmp_path, path)
    assert bundle.rows(tmp_path, "some/set", None, "test") == ROWS
    path.write_text(TEXT + GSM8K)
    with pytest.raises(DataError, match=r"test\.jsonl: has the SHA-256 \w+, and SHA256SUMS says"):
        bundle.rows(tmp_path, "some/set", None, "test")


def test_a_file_that_is_used_and_not_listed_is_an_error(tmp_path: Path) -> None:
    path = laid(tmp_path, "some__set/default/test.jsonl", TEXT.encode())
    laid(tmp_path, "some__set/default/train.jsonl", TEXT.encode())
    sums(tmp_path, path)
    with pytest.raises(DataError, match=r"does not list some__set/default/train\.jsonl"):
        bundle.rows(tmp_path, "some/set", None, "train")


def test_sums_that_are_none_are_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = laid(tmp_path, "some__set/default/test.jsonl", TEXT.encode())
    sums(tmp_path, path)
    (tmp_path / "SHA256SUMS").write_text((tmp_path / "SHA256SUMS").read_text() + "abc  x\n")
    with pytest.raises(DataError, match=r"SHA256SUMS:2: found 'abc  x'"):
        bundle.rows(tmp_path, "some/set", None, "test")


def test_the_fingerprint_is_of_the_files_used_alone(tmp_path: Path) -> None:
    laid(tmp_path, "some__set/default/test.jsonl", TEXT.encode())
    laid(tmp_path, "gsm8k/test.jsonl", GSM8K.encode())
    wanted = [("openai/gsm8k", "main", "test")]
    assert bundle.fingerprint(tmp_path, wanted) == {
        "gsm8k/test.jsonl": hashlib.sha256(GSM8K.encode()).hexdigest()
    }
    assert len(bundle.fingerprint(tmp_path, [*wanted, *wanted, ("some/set", None, "test")])) == 2


def test_all_that_a_group_lacks_is_named_at_once(tmp_path: Path) -> None:
    wanted = [("me/facts", name, "test") for name in ("red", "blue")]
    with pytest.raises(
        DataError, match=r"2 splits are missing.*: me__facts/red/test\.jsonl, me__facts/blue/test\.jsonl\."
    ):
        bundle.fingerprint(tmp_path, wanted)
    subjects = [("cais/mmlu", name, split) for name in ("anatomy", "virology") for split in ("dev", "test")]
    with pytest.raises(DataError, match=r"4 splits .*: mmlu/mmlu_dev\.jsonl, mmlu/mmlu_test\.jsonl\."):
        bundle.fingerprint(tmp_path, subjects)
