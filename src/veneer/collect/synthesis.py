"""Synthesis: the teacher makes up pairs of question and answer after examples, as the paper's NQ-synthetic."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

import numpy as np

from veneer.errors import DataError, ModelError
from veneer.models.model import Model, Sampling
from veneer.records import Completion, Message, Prompt, Stop, from_row, to_row
from veneer.store import read_rows, write_rows
from veneer.study_data import SynthesisSpec
from veneer.text import words

VERSION = 1
WAVE = 64
"""Requests asked together; waves are fixed, so that an interruption changes nothing."""
LINE = re.compile(
    r"^\W*(?:\d+[.):]\s*)?\W*(q(?:uestion)?|a(?:nswer)?)\s*(?:\d+)?\s*\W*[:.]\W*?\s*(.*)$", re.IGNORECASE
)
MARKS = ' \t*_`"“”'

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What one reply holds."""

    pairs: tuple[Pair, ...]
    malformed: int
    """Questions without an answer, answers without a question, and a last pair that the length limit cut."""


def files(spec: SynthesisSpec) -> dict[str, Path]:
    """Return the files that a synthesis reads, by their role in a key."""
    return {"seeds": spec.seeds, **({"prompt": spec.prompt} if spec.prompt else {})}


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
    seen = {_normal(question) for question, _ in seeds}
    kept: list[tuple[Pair, Completion]] = []
    log: list[dict[str, Any]] = []
    fruitless = 0
    number = 0
    while len(kept) < spec.pairs:
        for completion in _wave(spec, seeds, template, model, folder, number):
            parsed = parse(completion.text, cut=completion.stop is Stop.LENGTH)
            fresh: list[Pair] = []
            for question, answer in parsed.pairs:
                if (key := _normal(question)) not in seen:
                    seen.add(key)
                    fresh.append((question, answer))
            taken = fresh[: spec.pairs - len(kept)]
            kept += [(pair, completion) for pair in taken]
            log.append(
                {
                    "request": completion.prompt_id,
                    "stop": str(completion.stop),
                    "reply": completion.text,
                    "pairs": len(parsed.pairs),
                    "new": len(taken),
                    "beyond": len(fresh) - len(taken),
                    "duplicates": len(parsed.pairs) - len(fresh),
                    "malformed": parsed.malformed,
                }
            )
            fruitless = 0 if fresh else fruitless + 1
            if fruitless >= spec.fruitless_requests and len(kept) < spec.pairs:
                raise ModelError(_exhausted(spec, len(kept), completion))
        number += WAVE
    _write(kept, log, folder)


def parse(reply: str, *, cut: bool) -> Parsed:
    r"""Return the pairs of a reply: lines of `Q:` and `A:` (or whole words), numbered or bold or not, or JSON.

    Args:
        reply: What the teacher wrote.
        cut: Whether the length limit ended it: the last pair is then not whole.

    >>> parse("1. **Q:** who wrote emma\\n**A:** Jane Austen\\nQ: where is oslo", cut=False)
    Parsed(pairs=(('who wrote emma', 'Jane Austen'),), malformed=1)
    """
    pairs: list[Pair] = []
    malformed, question = 0, ""
    for line in filter(str.strip, reply.splitlines()):
        if pair := _json(line):
            pairs.append(pair)
            continue
        match = LINE.match(line)
        if not match:
            continue
        text = match[2].strip(MARKS)
        if match[1].lower().startswith("q"):
            malformed += bool(question)
            question = text
        elif question and text:
            pairs.append((question, text))
            question = ""
        else:
            malformed += 1
            question = ""
    malformed += bool(question)
    if cut and pairs and not question:
        pairs.pop()
        malformed += 1
    return Parsed(pairs=tuple(pairs), malformed=malformed)


def _json(line: str) -> Pair | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        row = json.loads(line.strip().rstrip(","))
    except ValueError:
        return None
    question, answer = (row.get(field) for field in ("question", "answer"))
    good = isinstance(question, str) and isinstance(answer, str) and question.strip() and answer.strip()
    return (question.strip(), answer.strip()) if good else None


def _wave(
    spec: SynthesisSpec, seeds: Sequence[Pair], template: str, model: Model, folder: Path, start: int
) -> list[Completion]:
    """Return the completions of one wave of requests, from the folder where an earlier call left them."""
    file = folder / "waves" / f"{start:06d}.jsonl"
    if not file.exists():
        # The first wave is no larger than what is needed if every pair is new.
        least = -(-spec.pairs // spec.pairs_per_request)
        prompts = [
            _request(spec, seeds, template, number) for number in range(start, start + min(WAVE, least))
        ]
        drawn = Sampling(
            temperature=spec.sampling.temperature,
            max_tokens=spec.sampling.max_tokens,
            stop=spec.sampling.stop,
            seed=spec.sampling.seed,
        )
        write_rows(file, map(to_row, model.generate(prompts, drawn)))
    return [from_row(Completion, row, where) for where, row in read_rows(file)]


def _request(spec: SynthesisSpec, seeds: Sequence[Pair], template: str, number: int) -> Prompt:
    rng = np.random.default_rng([spec.sampling.seed, number])
    shots = rng.choice(len(seeds), min(spec.shots, len(seeds)), replace=False).tolist()
    examples = "\n\n".join(f"Q: {seeds[shot][0]}\nA: {seeds[shot][1]}" for shot in shots)
    asked = template.replace("{count}", str(spec.pairs_per_request)).replace("{examples}", examples)
    # Two requests with the same shots are two requests.
    return Prompt(
        prompt_id=f"request-{number}", messages=(Message(role="user", content=asked.strip()),), draw=number
    )


def _write(kept: Sequence[tuple[Pair, Completion]], log: Sequence[dict[str, Any]], folder: Path) -> None:
    shares: dict[str, int] = {}
    for _, completion in kept:
        shares[completion.prompt_id] = shares.get(completion.prompt_id, 0) + 1
    done: dict[str, int] = {}
    rows = []
    for place, ((_, answer), completion) in enumerate(kept):
        own, count = done.get(completion.prompt_id, 0), shares[completion.prompt_id]
        done[completion.prompt_id] = own + 1
        rows.append(
            to_row(
                Completion(
                    prompt_id=f"pair-{place}",
                    sample=0,
                    model=completion.model,
                    rendered=completion.rendered,
                    text=answer,
                    stop=Stop.END,
                    detail=f"pair {own + 1} of {completion.prompt_id}",
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
    text = spec.prompt.read_text(encoding="utf-8")
    if missing := [field for field in ("{examples}", "{count}") if field not in text]:
        raise DataError(f"{spec.prompt}: lacks {missing}, where the examples and the number of pairs go.")
    return text


def _normal(question: str) -> str:
    return " ".join(words(question))


def _exhausted(spec: SynthesisSpec, stand: int, last: Completion) -> str:
    how = f"it failed: {last.detail}" if last.stop is Stop.FAILED else f"it read {last.text[:200]!r}"
    return (
        f"{last.model}: {spec.fruitless_requests} requests in a row gave no new pair; {stand:,} of {spec.pairs:,} "
        f"stand. Of the last reply: {how}. Give more seeds, ask for fewer pairs, or mend the prompt."
    )
