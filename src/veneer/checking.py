"""Holds a finished study's numbers against what a pipeline requires of them."""

from collections.abc import Sequence
from pathlib import Path

from veneer import pipeline, store
from veneer.analyze import require
from veneer.analyze.measures import Evidence, measures_of, teller
from veneer.analyze.require import Checked
from veneer.errors import StudyError
from veneer.records import Contestant, from_row
from veneer.store import Artefact, Order
from veneer.study import Study, load


def check(study_file: Path, requirements: Sequence[str]) -> list[Checked]:
    """Return what a study says of requirements, such as `score[mmlu, vicuna] >= score[mmlu, llama]`.

    Raises:
        StudyError: One is no requirement, or names what the study does not have; or the study is not finished.
    """
    wanted = [require.parse(text) for text in requirements]
    study = load(study_file)
    place = pipeline.store_of(study_file)
    study = pipeline.with_items(study, place.root.parent)
    found = measures_of(study, _evidence(study_file, study, place))
    return require.check(wanted, teller(found, study), study.analyze.level)


def _evidence(study_file: Path, study: Study, place: store.Store) -> Evidence:
    """Return what the stages left, if all of them are done up to the analysis."""
    contestants: list[Contestant] = []
    missing: list[str] = []

    def look(stage: str, orders: Sequence[Order]) -> pipeline.Made:
        found: dict[str, Artefact] = {}
        for order in orders:
            made = place.find(order)
            if made is None and stage not in ("analyze", "report"):
                missing.append(order.label)
            found[order.name] = made or pipeline.to_come(order, place)
            if stage == "analyze":
                rows = enumerate(order.config["contestants"])
                contestants.extend(from_row(Contestant, row, f"contestant {number}") for number, row in rows)
        return found

    made = dict(pipeline.stages(study, place.root.parent, look))
    if missing or not contestants:
        left = f", {missing[0]} for one" if missing else ""
        raise StudyError(
            f"{study_file}: the study is not finished ({len(missing)} artefacts are to be made{left}). "
            f"Run it first: veneer run {study_file}"
        )
    return Evidence(
        contestants=tuple(contestants),
        answered=made["answer"],
        graded=made["grade"],
        prepared=made["prepare"],
        compared={**made["judge"], **made["rate"]},
        trained=made["train"],
    )
