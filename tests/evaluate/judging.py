"""What the tests of judges share: three contestants, their answers, and a judge's verdicts."""

from pathlib import Path

from veneer.disk import read_rows, write_rows
from veneer.records import Comparison, Completion, Contestant, Message, Prompt, Role, Stop, from_row, to_row
from veneer.store import Artefact


def contestant(name: str, role: Role, base: str = "") -> Contestant:
    return Contestant(name=name, role=role, student=name, base=base, source="", amount=0, seed=0, replay=0.0)


PEOPLE = [
    contestant("base", Role.BASE, "base"),
    contestant("student", Role.STUDENT, "base"),
    contestant("teacher", Role.TEACHER),
]


def answers(folder: Path, name: str, *texts: tuple[str, int, str]) -> Artefact:
    """Write a contestant's answers: (prompt's id, sample, text)."""
    path = folder / name
    rows = [
        {"benchmark": "prompts", "form": "chat", "reference_loglikelihood": None,
         "completion": to_row(Completion(
            prompt_id=prompt_id, sample=sample, model=name, rendered="", text=text,
            stop=Stop.END, detail="", tokens_in=0, tokens_out=0))}
        for prompt_id, sample, text in texts
    ]  # fmt: skip
    write_rows(path / "completions.jsonl", rows)
    prompts = [Prompt(prompt_id=one, messages=(Message(role="user", content="w1"),)) for one in ("1", "2")]
    write_rows(path / "prompts.jsonl", map(to_row, prompts))
    return Artefact(stage="answer", name=name, key=name, path=path)


def comparisons(artefact: Artefact) -> list[Comparison]:
    rows = read_rows(artefact.path / "comparisons.jsonl")
    return [from_row(Comparison, row, where) for where, row in rows]
