"""Rude words: a lexicon, and which of its words a text holds."""

from dataclasses import dataclass
from pathlib import Path

from veneer import disk, text
from veneer.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """A list of words that a polite text does not hold."""

    name: str
    """The file's name."""
    digest: str
    """SHA-256 of the file."""
    entries: tuple[str, ...]


def load(path: Path) -> Lexicon:
    """Read a lexicon: a text file with one word or phrase a line; empty lines and lines that begin with # are skipped.

    Raises:
        DataError: It holds no words.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); one word a line is wanted.") from error
    entries = tuple(line.strip() for line in lines if text.words(line) and not line.startswith("#"))
    if not entries:
        raise DataError(f"{path}: holds no words; one word or phrase a line is wanted.")
    return Lexicon(name=path.name, digest=disk.digest(path), entries=entries)


def rude_words(lexicon: Lexicon, completion: str) -> list[str]:
    """Return the entries that a text holds as whole words, whatever their case, in the lexicon's order."""
    found = text.words(completion)
    return [entry for entry in lexicon.entries if text.find_words(text.words(entry), found) >= 0]
