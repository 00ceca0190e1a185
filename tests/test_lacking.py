"""What has no answer in an artefact is noted in it, and told in one line."""

from pathlib import Path

from veneer import lacking


def test_what_has_no_answer_is_told_with_its_reasons(tmp_path: Path) -> None:
    lacking.write(tmp_path, 2000, {"b/0": "überlastet", "a/0": "cut", "c/1": "cut"})
    assert lacking.names(tmp_path) == ["a/0", "b/0", "c/1"]
    assert lacking.said(tmp_path) == "3 of 2,000 requests have no answer (2 x cut; 1 x überlastet)"


def test_where_all_have_theirs_there_is_nothing_to_tell_and_no_file(tmp_path: Path) -> None:
    lacking.write(tmp_path, 2, {"a/0": "cut"})
    lacking.write(tmp_path, 2, {})
    assert (lacking.names(tmp_path), lacking.said(tmp_path), list(tmp_path.iterdir())) == ([], "", [])
