"""The profile of a prepared source: every number of its data card but the amounts."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veneer import style
from veneer.disk import read_rows, write_json
from veneer.prepare import diversity, overlap
from veneer.prepare.feeds import Feed
from veneer.prepare.filters import ORDER, Kind
from veneer.prepare.hashing import spaced
from veneer.prepare.mixtures import Mixed
from veneer.prepare.sift import Sifted
from veneer.stats import to_json

if TYPE_CHECKING:
    from veneer.prepare.make import Job

SAMPLE = 2000
"""Conversations whose language and style are looked at; all where there are fewer."""
DIVERSITY_SAMPLE = 500
"""Queries whose most similar other query is looked for among all."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def write(job: "Job", found: Sifted, mixed: Mixed, ordered: Sequence[int], folder: Path) -> None:
    """Write `profile.json`: counts that add up, lengths, languages, duplicates, overlap, diversity and style.

    Args:
        job: What was prepared.
        found: What became of every row.
        mixed: The order of the kept rows.
        ordered: The numbers of the rows that it holds, in ladder order.
        folder: Where it goes.
    """
    rng = np.random.default_rng([job.spec.seed, 1])
    lengths = [found.lengths[number] for number in ordered]
    sample = (
        ordered if len(ordered) <= SAMPLE else sorted(rng.choice(ordered, SAMPLE, replace=False).tolist())
    )
    conversations = [found.shelf.messages(number) for number in sample]
    answers = [[one.content for one in turns if one.role == "assistant"] for turns in conversations]
    firsts = [answer[0] for answer in answers]
    looked_at = {found.ids[number] for number in sample}
    again = [text for feed in job.feeds for text in _second_samples(feed, looked_at, len(job.feeds) > 1)]
    reasons = Counter(reason.kind for reason in found.reasons if reason)
    write_json(
        folder / "profile.json",
        {
            "source": job.name,
            "read": len(found.ids),
            "kept": len(found.kept()),
            "dropped": sum(reasons.values()),
            "reasons": {str(kind): reasons[kind] for kind in ORDER if reasons[kind]},
            "feeds": [_feed(feed, found) for feed in job.feeds],
            "weights": dict(job.mixture.weights) if job.mixture else {},
            "left_over": dict(mixed.left_over),
            "ran_out": mixed.ran_out,
            "conversations": len(ordered),
            "examples": sum(map(len, lengths)),
            "tokens": sum(map(sum, lengths)),
            "tokens_by_source": _tokens_by_source(found, ordered, lengths),
            "tokens_per_example": _quantiles([tokens for pieces in lengths for tokens in pieces]),
            "turns": _turns(found, ordered),
            "answer_words": _quantiles([len(spaced(text).split()) for own in answers for text in own]),
            "languages": {"n": len(sample), "counts": _languages(conversations)},
            "duplicates": _duplicates(found),
            "overlap": _overlap(job, found),
            "diversity": to_json(_diversity(found, ordered, rng)),
            "style": {
                "n": len(firsts),
                "teacher": _style(firsts),
                "again": {"n": len(again), "teacher": _style(again)} if again else None,
            },
            "settings": job.spec.model_dump(mode="json", exclude={"tokenizer", "mixtures"}),
        },
    )


def overlap_rows(found: Sifted) -> Iterator[dict[str, Any]]:
    """Yield a row for each held-out item that shares something with the data: what, with how many rows, how much."""
    items: dict[tuple[str, str], dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for number, match in found.matches:
        items[match.file, match.item][match.kind].append((number, match.score))
    for (file, item), kinds in sorted(items.items()):
        yield {
            "file": file,
            "item": item,
            "matches": {
                kind: {
                    "rows": len(matches),
                    "most": max(score for _, score in matches),
                    "example": found.ids[max(matches, key=lambda one: one[1])[0]],
                }
                for kind, matches in sorted(kinds.items())
            },
        }


def _feed(feed: Feed, found: Sifted) -> dict[str, Any]:
    own = [reason for label, reason in zip(found.labels, found.reasons, strict=True) if label == feed.label]
    reasons = Counter(reason.kind for reason in own if reason)
    return {
        "name": feed.label,
        "read": len(own),
        "kept": len(own) - sum(reasons.values()),
        "dropped": sum(reasons.values()),
        "reasons": {str(kind): reasons[kind] for kind in ORDER if reasons[kind]},
    }


def _tokens_by_source(
    found: Sifted, ordered: Sequence[int], lengths: Sequence[Sequence[int]]
) -> dict[str, int]:
    tokens: Counter[str] = Counter()
    for number, pieces in zip(ordered, lengths, strict=True):
        tokens[found.sources[number]] += sum(pieces)
    return dict(sorted(tokens.items()))


def _quantiles(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{share:.0%}": round(value, 1) for share, value in zip(QUANTILES, found, strict=True)}


def _turns(found: Sifted, ordered: Sequence[int]) -> dict[str, int]:
    """Return how many conversations have so many answers."""
    counts = Counter(sum(role == "assistant" for role, _ in found.shelf.get(number)) for number in ordered)
    return {str(turns): counts[turns] for turns in sorted(counts)}


def _languages(conversations: Sequence[Any]) -> dict[str, int]:
    from veneer.prepare import filters

    detect = filters.detector()
    return dict(Counter(detect(turns) for turns in conversations).most_common())


def _duplicates(found: Sifted) -> dict[str, Any]:
    """Return how many rows stand for others, by kind and by the pair of feeds that they come from."""
    pairs = Counter(
        (str(found.reasons[number].kind), found.labels[number], found.labels[kept])  # type: ignore[union-attr]
        for number, kept in found.instead.items()
    )
    return {
        "exact": sum(count for (kind, *_), count in pairs.items() if kind == Kind.DUPLICATE),
        "near": sum(count for (kind, *_), count in pairs.items() if kind == Kind.NEAR),
        "between": [
            {"kind": kind, "dropped_from": dropped, "kept_in": kept, "rows": count}
            for (kind, dropped, kept), count in sorted(pairs.items())
        ],
        "asked_before": _asked_before(found),
    }


def _asked_before(found: Sifted) -> list[dict[str, Any]]:
    """Return how many rows ask what an earlier row asks, kept or not, by feeds, and what became of them."""
    fates: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for number, first in found.asked_before.items():
        reason = found.reasons[number]
        fate = "kept" if reason is None else "duplicates" if reason.kind is Kind.DUPLICATE else "dropped"
        fates[found.labels[number], found.labels[first]][fate] += 1
    return [
        {
            "asked_in": asked,
            "first_asked_in": first,
            "rows": fate.total(),
            "duplicates": fate["duplicates"],
            "dropped_otherwise": fate["dropped"],
            "kept": fate["kept"],
        }
        for (asked, first), fate in sorted(fates.items())
    ]


def _overlap(job: "Job", found: Sifted) -> list[dict[str, Any]]:
    """Return, for every held-out file, how many of its items share what with how many rows."""
    items: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    rows: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    counted: dict[str, set[str]] = defaultdict(set)
    for number, match in found.matches:
        items[match.file][match.kind].add(match.item)
        rows[match.file][match.kind].add(number)
        if overlap.decides(match, job.spec.overlap):
            counted[match.file].add(match.item)
    looked_for = [
        "exact",
        *(f"{size}-gram" for size in job.spec.overlap.ngrams),
        *(["bleu"] if job.spec.overlap.bleu else []),
    ]
    return [
        {
            "file": held.label,
            "items": sum(1 for _ in read_rows(held.path)),
            "overlapping": len(counted[held.label]),
            "kinds": {
                kind: {"items": len(items[held.label][kind]), "rows": len(rows[held.label][kind])}
                for kind in looked_for
            },
        }
        for held in job.held_out
    ]


def _diversity(found: Sifted, ordered: Sequence[int], rng: np.random.Generator) -> Any:
    queries = [
        next(content for role, content in found.shelf.get(number) if role == "user") for number in ordered
    ]
    return diversity.nearest_bleu(queries, DIVERSITY_SAMPLE, rng=rng)


def _style(answers: Sequence[str]) -> Mapping[str, float]:
    """Return the mean of each style feature that can be read by itself."""
    shown = ("words", "has_list", "has_closing", "has_hedge", "opening", "log_headers", "log_code_blocks")
    found = [style.features(answer) for answer in answers]
    return {name: round(float(np.mean([one[name] for one in found])), 4) for name in shown} if found else {}


def _second_samples(feed: Feed, looked_at: set[str], prefixed: bool) -> list[str]:
    """Return the teacher's second answers to the queries that are looked at, where it was asked for several."""
    if not feed.collected:
        return []
    rows = (row for _, row in read_rows(feed.collected.path / "completions.jsonl"))
    second = (row for row in rows if row["sample"] == 1 and row["stop"] == "end")
    prefix = f"{feed.label}:" if prefixed else ""
    return [row["text"] for row in second if prefix + row["prompt_id"] in looked_at]
