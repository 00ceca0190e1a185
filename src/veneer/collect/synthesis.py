"""Synthesis: the teacher makes up pairs of question and answer after examples, as the paper's NQ-synthetic."""

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

import numpy as np

from veneer.disk import read_rows, write_rows
from veneer.errors import DataError, ModelError
from veneer.models.model import Model, Sampling
from veneer.records import Completion, Message, Prompt, Stop, from_row, to_row
from veneer.study_data import SynthesisSpec
from veneer.text import plain_query

VERSION = 2
WAVE = 64
"""Requests asked together, at most."""
LINE = re.compile(
    r"^[\W_]*(?:\d+[.):][\W_]*)?(q(?:uestion)?|a(?:nswer)?)[^a-z0-9:：]*\d*[^a-z0-9:：]*[:：](.*)$",
    re.IGNORECASE,
)
"""A line that opens a question or an answer: numbered or not, bold or not."""
INSIDE = re.compile(r"\s[*_]*A(?:nswer)?[*_]*:")
"""An answer on the line of its question."""
NO_WORD = re.compile(r"^\W*\d*\W*$|^\s*```")
"""Rules, lone numbers, fences: they end a pair and are part of none."""
MARKS = ' \t*_`"“”'

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What one reply holds."""

    pairs: tuple[Pair, ...]
    malformed: int
    """Questions without an answer, answers without a question, and a last pair that the length limit cut."""


@dataclass(slots=True, kw_only=True)
class _Standing:
    """What stands so far."""

    seen: set[str]
    """Plain forms of the seeds' questions and of all that came after."""
    kept: list[tuple[Pair, Completion]]
    log: list[dict[str, Any]]
    fresh: int = 0
    """New pairs so far, those beyond the number wanted too."""
    fruitless: int = 0
    """Requests in a row without a new pair."""


def files(spec: SynthesisSpec) -> dict[str, Path]:
    """Return the files that a synthesis reads, by their role in a key."""
    return {"seeds": spec.seeds, **({"prompt": spec.prompt} if spec.prompt else {})}


def identity(spec: SynthesisSpec) -> dict[str, Any]:
    """Return what else shapes a synthesis, ready for a key: settings, the built-in prompt, the version."""
    built_in = None if spec.prompt else hashlib.sha256(_template(spec).encode()).hexdigest()
    return {
        **spec.model_dump(mode="json", exclude={"seeds", "prompt"}),
        "built_in_prompt": built_in,
        "version": VERSION,
    }


def expected(spec: SynthesisSpec) -> Iterator[Prompt]:
    """Return the requests that a synthesis makes if every reply holds as many new pairs as it was asked for.

    Raises:
        DataError: A seed pair is malformed, or the prompt cannot be used.
    """
    seeds, template = _seeds(spec), _template(spec)
    return (
        _request(spec, seeds, template, number) for number in range(-(-spec.pairs // spec.pairs_per_request))
    )


def synthesise(spec: SynthesisSpec, model: Model, folder: Path) -> None:
    """Ask for pairs until enough stand, and write `queries.jsonl`, `completions.jsonl` and `synthesis.jsonl`.

    Request number i has its own examples, drawn from the seed and i, so that an interrupted call asks what it would
    have asked. Pairs are taken in the order of requests; one whose question stands already, among the seeds or the
    pairs before it, is a duplicate.

    Args:
        spec: Seeds, shots, how many pairs.
        model: The teacher.
        folder: Where the files go; waves that were asked before are read from it.

    Raises:
        DataError: A seed pair is malformed.
        ModelError: So many requests in a row gave no new pair that more would not help.
    """
    seeds = _seeds(spec)
    template = _template(spec)
    standing = _Standing(seen={plain_query(question) for question, _ in seeds}, kept=[], log=[])
    while len(standing.kept) < spec.pairs:
        start = len(standing.log)
        requests = [
            _request(spec, seeds, template, number) for number in range(start, start + _size(spec, standing))
        ]
        for completion in _wave(spec, requests, model, folder / "waves" / f"{start:06d}.jsonl"):
            _take(spec, completion, _shots(spec, len(seeds), len(standing.log)), standing)
            if standing.fruitless >= spec.fruitless_requests and len(standing.kept) < spec.pairs:
                raise ModelError(_exhausted(spec, standing, completion))
    _write(standing.kept, standing.log, folder)


def _size(spec: SynthesisSpec, standing: _Standing) -> int:
    """Return how many requests the pairs that lack need, by the mean yield so far."""
    lacking = spec.pairs - len(standing.kept)
    if not standing.log:
        return min(WAVE, -(-lacking // spec.pairs_per_request))
    if not standing.fresh:
        return min(WAVE, max(1, spec.fruitless_requests - standing.fruitless))
    return min(WAVE, -(-lacking * len(standing.log) // standing.fresh))


def _take(spec: SynthesisSpec, completion: Completion, shots: Sequence[int], standing: _Standing) -> None:
    """Add a request's new pairs to what stands, and the request to the log."""
    answered = completion.stop in {Stop.END, Stop.LENGTH}
    parsed = parse(completion.text if answered else "", cut=completion.stop is Stop.LENGTH)
    fresh: list[Pair] = []
    for question, answer in parsed.pairs:
        if (key := plain_query(question)) not in standing.seen:
            standing.seen.add(key)
            fresh.append((question, answer))
    taken = fresh[: spec.pairs - len(standing.kept)]
    standing.kept += [(pair, completion) for pair in taken]
    standing.fresh += len(fresh)
    standing.fruitless = 0 if fresh else standing.fruitless + 1
    standing.log.append(
        {
            "request": len(standing.log),
            "shots": list(shots),
            "reply": completion.text,
            "stop": str(completion.stop),
            "detail": completion.detail,
            "tokens_in": completion.tokens_in,
            "tokens_out": completion.tokens_out,
            "pairs": len(parsed.pairs),
            "new": len(taken),
            "beyond": len(fresh) - len(taken),
            "duplicates": len(parsed.pairs) - len(fresh),
            "malformed": parsed.malformed,
        }
    )


def parse(reply: str, *, cut: bool) -> Parsed:
    r"""Return the pairs of a reply: lines of `Q:` and `A:` (or whole words), numbered or bold or not, or JSON objects.

    Lines that follow without a break belong to the question or answer before them; other words are passed over.

    Args:
        reply: What the teacher wrote.
        cut: Whether the length limit ended it: a last pair that was being written is then not whole.

    >>> parse("1. **Q:** who wrote emma\n**A:** Jane Austen\nQ: where is oslo", cut=False)
    Parsed(pairs=(('who wrote emma', 'Jane Austen'),), malformed=1)
    """
    objects = _objects(reply)
    if objects.pairs:
        return objects
    pairs: list[Pair] = []
    malformed = 0
    question, open_ended = "", False
    for speaker, text, ended in _turns(reply):
        if speaker == "q":
            malformed += bool(question)
            question = " ".join(text.split())
            malformed += not text
        elif question and text:
            pairs.append((question, text))
            question, open_ended = "", not ended
        else:
            malformed += 1
            question = ""
    if question:
        malformed += 1
    elif cut and pairs and open_ended:
        pairs.pop()
        malformed += 1
    return Parsed(pairs=tuple(pairs), malformed=malformed)


def _turns(reply: str) -> Iterator[tuple[str, str, bool]]:
    """Yield `q` or `a`, its text, and whether something ended it, for each question and answer in order."""
    speaker, parts = "", list[str]()
    for line in reply.splitlines():
        if match := LINE.match(line):
            if speaker:
                yield speaker, "\n".join(filter(None, parts)), True
            speaker, text = match[1][0].lower(), match[2]
            if speaker == "q" and (inside := INSIDE.search(text)):
                yield "q", text[: inside.start()].strip(MARKS), True
                speaker, text = "a", text[inside.end() :]
            parts = [text.strip(MARKS)]
        elif speaker and any(parts) and (not line.strip() or NO_WORD.match(line)):
            yield speaker, "\n".join(filter(None, parts)), True
            speaker = ""
        elif speaker:
            parts.append(line.strip(MARKS))
    if speaker:
        yield speaker, "\n".join(filter(None, parts)), False


def _objects(reply: str) -> Parsed:
    """Return the pairs of a reply's JSON objects, wherever they stand in it."""
    decoder, pairs, malformed = json.JSONDecoder(), list[Pair](), 0
    place = reply.find("{")
    while place >= 0:
        try:
            row, end = decoder.raw_decode(reply, place)
        except (ValueError, RecursionError):
            malformed, end = malformed + 1, place + 1
        else:
            known = {str(name).lower(): value for name, value in row.items()}
            question, answer = (_said(known.get(name, known.get(name[0]))) for name in ("question", "answer"))
            if question and answer:
                pairs.append((question, answer))
            else:
                malformed += 1
        place = reply.find("{", end)
    return Parsed(pairs=tuple(pairs), malformed=malformed)


def _said(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()


def _wave(spec: SynthesisSpec, requests: Sequence[Prompt], model: Model, file: Path) -> list[Completion]:
    """Return the completions of one wave of requests, from the file where an earlier call left them.

    A wave with failed requests is not kept, so that a later call asks those again.
    """
    if file.exists():
        return [from_row(Completion, row, where) for where, row in read_rows(file)]
    sampling = Sampling(
        temperature=spec.sampling.temperature,
        max_tokens=spec.sampling.max_tokens,
        stop=spec.sampling.stop,
        seed=spec.sampling.seed,
    )
    completions = list(model.generate(requests, sampling))
    assert [one.prompt_id for one in completions] == [one.prompt_id for one in requests], "in order"
    if not any(completion.stop is Stop.FAILED for completion in completions):
        write_rows(file, map(to_row, completions))
    return completions


def _shots(spec: SynthesisSpec, seeds: int, number: int) -> list[int]:
    """Return the places of the seed pairs that request `number` shows."""
    rng = np.random.default_rng([spec.sampling.seed, number])
    return [int(place) for place in rng.choice(seeds, min(spec.shots, seeds), replace=False)]


def _request(spec: SynthesisSpec, seeds: Sequence[Pair], template: str, number: int) -> Prompt:
    shots = [seeds[place] for place in _shots(spec, len(seeds), number)]
    examples = "\n\n".join(f"Q: {question}\nA: {answer}" for question, answer in shots)
    asked = template.replace("{count}", str(spec.pairs_per_request)).replace("{examples}", examples)
    # Two requests with the same shots are two requests.
    return Prompt(
        prompt_id=f"request-{number}", messages=(Message(role="user", content=asked.strip()),), draw=number
    )


def _write(kept: Sequence[tuple[Pair, Completion]], log: Sequence[dict[str, Any]], folder: Path) -> None:
    shares = Counter(completion.prompt_id for _, completion in kept)
    done: Counter[str] = Counter()
    rows = []
    for place, ((_, answer), completion) in enumerate(kept):
        own, count = done[completion.prompt_id], shares[completion.prompt_id]
        done[completion.prompt_id] += 1
        rows.append(
            to_row(
                Completion(
                    prompt_id=f"pair-{place}",
                    sample=0,
                    model=completion.model,
                    rendered=completion.rendered,
                    text=answer,
                    stop=Stop.END,
                    detail=f"pair {own + 1} of {completion.prompt_id.replace('-', ' ')}",
                    tokens_in=_part(completion.tokens_in, own, count),
                    tokens_out=_part(completion.tokens_out, own, count),
                )
            )
        )
    write_rows(
        folder / "queries.jsonl",
        ({"id": f"pair-{place}", "query": question} for place, ((question, _), _) in enumerate(kept)),
    )
    write_rows(folder / "completions.jsonl", rows)
    write_rows(folder / "synthesis.jsonl", log)
    shutil.rmtree(folder / "waves", ignore_errors=True)


def _part(whole: int, place: int, count: int) -> int:
    """Return a pair's part of its request's tokens; the parts add up to the whole."""
    return whole * (place + 1) // count - whole * place // count


def _seeds(spec: SynthesisSpec) -> list[Pair]:
    found = []
    for where, row in read_rows(spec.seeds):
        question, answer = row.get("question"), row.get("answer", row.get("answers"))
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if not (
            isinstance(question, str) and question.strip() and isinstance(answer, str) and answer.strip()
        ):
            raise DataError(
                f'{where}: a seed is like {{"question": "who wrote emma", "answer": "Jane Austen"}}; '
                f"found {json.dumps(row)[:120]}."
            )
        found.append((question.strip(), answer.strip()))
    if not found:
        raise DataError(f"{spec.seeds}: holds no seed pairs; the paper used ten.")
    return found


def _template(spec: SynthesisSpec) -> str:
    if spec.prompt is None:
        return (packaged("veneer") / "prompts" / "synthesis_questions.txt").read_text(encoding="utf-8")
    try:
        text = spec.prompt.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{spec.prompt}: cannot be read ({error}). A text file in UTF-8 with {{examples}} and {{count}} is wanted."
        ) from error
    if missing := [field for field in ("{examples}", "{count}") if field not in text]:
        raise DataError(f"{spec.prompt}: lacks {missing}, where the examples and the number of pairs go.")
    return text


def _exhausted(spec: SynthesisSpec, standing: _Standing, last: Completion) -> str:
    how = {
        Stop.FAILED: f"it failed: {last.detail}",
        Stop.REFUSED: f"it was refused: {last.detail}",
    }.get(last.stop, f"it read {last.text[:200]!r}")
    return (
        f"{last.model}: {spec.fruitless_requests} requests in a row gave no new pair; {len(standing.kept):,} of "
        f"{spec.pairs:,} stand. Of the last reply: {how}. Give more seeds, ask for fewer pairs, or mend the prompt."
    )
