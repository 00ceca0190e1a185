"""Who judges in a study: every judge and crowd of raters, what it said, its kin among the contestants, its canaries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veneer import disk
from veneer.analyze.reading import Places, comparisons
from veneer.records import Comparison, Contestant
from veneer.store import Artefact
from veneer.study import Study
from veneer.study_judges import ComparingSpec, RecordedJudgeSpec, ToneJudgeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """One judge, or one crowd of raters, and all that it said."""

    name: str
    kind: str
    people: bool
    """Whether it is people, or stands in for them: the other judges are held against it."""
    comparisons: Sequence[Comparison]
    family: frozenset[str] = frozenset()
    """The contestants that are the judge itself, made from it, or of its maker."""
    told: Mapping[str, Any] | None = None
    """What its artefact tells of it: `identity`, and where it was asked `served` and `canaries`."""


def of_study(
    study: Study, contestants: Sequence[Contestant], compared: Mapping[str, Artefact], out: Places
) -> list[Judge]:
    """Return all judges of pairs of a study, raters included, in its order.

    Args:
        study: Its `judges` say who they are; a name that it lacks is that of raters.
        contestants: All of the study's.
        compared: What each said, by name.
        out: Prompts that are left out.
    """
    found = []
    for name, made in compared.items():
        spec = study.judges.get(name)
        if isinstance(spec, ToneJudgeSpec):
            continue
        file = made.path / "judge.json"
        found.append(
            Judge(
                name=name,
                kind=spec.kind if spec else name,
                people=spec is None or (isinstance(spec, RecordedJudgeSpec) and spec.people),
                comparisons=comparisons(made, out),
                family=_family(study, contestants, spec) if spec else frozenset(),
                told=disk.read_json(file) if file.exists() else None,
            )
        )
    return found


def _family(study: Study, contestants: Sequence[Contestant], spec: ComparingSpec) -> frozenset[str]:
    """Return the contestants that are the judge, were made from it, or share its maker."""
    models = {**study.bases, **study.students, study.teacher.name: study.teacher, "teacher": study.teacher}
    if isinstance(spec, RecordedJudgeSpec):
        own, maker = "", spec.maker
    elif isinstance(spec.model, str):
        own, maker = spec.model, models[spec.model].maker
    else:
        own, maker = "", spec.model.maker
    own = study.teacher.name if own == "teacher" else own
    # A student that the study trains has the maker of its base.
    found = {
        one.name
        for one in contestants
        if (own and own in (one.name, one.base))
        or (maker and models.get(one.name, models.get(one.base, study.teacher)).maker == maker)
    }
    again = {f"{study.teacher.name}-again"} if study.teacher.name in found else set()
    return frozenset(found | again)


def _in_one_order(judge: Judge) -> int:
    """Return how many comparisons are of two contestants of whom the same one always came first.

    A place means something only to who is shown two completions, one after the other.
    """
    if judge.kind not in ("model", "recorded", "people"):
        return 0
    firsts: dict[frozenset[str], Counter[str]] = {}
    for one in judge.comparisons:
        firsts.setdefault(frozenset((one.first, one.second)), Counter())[one.first] += 1
    return sum(met.total() for met in firsts.values() if len(met) == 1)


def canaries_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the canaries beside all pairs say of a judge.

    Args:
        told: By pair, `{verdicts, right, asked, fingerprint}`.

    Returns:
        How many were asked and how many decided right, the canaries whose verdict is not the same beside all pairs, and
        a fingerprint of each set of replies, by which a later study can see whether the judge is still the same.
    """
    given: dict[str, set[str]] = {}
    for one in told.values():
        for canary, verdict in one["verdicts"].items():
            given.setdefault(canary, set()).add(verdict)
    return {
        "asked": sum(one["asked"] for one in told.values()),
        "right": sum(one["right"] for one in told.values()),
        "changed": sorted(canary for canary, verdicts in given.items() if len(verdicts) > 1),
        "fingerprints": sorted({one["fingerprint"] for one in told.values() if one["asked"]}),
    }


def notes_of(judges: Sequence[Judge], opponents: Sequence[str]) -> list[str]:
    """Return what a reader must know of the judges before believing them.

    Args:
        judges: All of them.
        opponents: The teacher and the bases.
    """
    notes = []
    for judge in judges:
        told = judge.told or {}
        if apart := sum(not {one.first, one.second} & set(opponents) for one in judge.comparisons):
            notes.append(
                f"Comparisons of two students by {judge.name} ({apart:,}) stand in no win rate: those are against the "
                "teacher or a base."
            )
        if fixed := _in_one_order(judge):
            notes.append(
                f"{fixed:,} of {len(judge.comparisons):,} comparisons by {judge.name} are of two contestants of whom "
                "the same one always came first: whether it likes a contestant or its place cannot be told there."
            )
        changed = canaries_of(told.get("canaries", {}))["changed"]
        if changed:
            notes.append(
                f"The judge {judge.name} did not decide the canaries {', '.join(changed)} alike whenever it was asked: "
                "it has changed meanwhile, or does not say the same twice."
            )
        if len(served := told.get("served", {})) > 1:
            notes.append(f"The judge {judge.name} answered under several names: {', '.join(sorted(served))}.")
    return notes
