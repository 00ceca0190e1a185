"""What `veneer plan` prints of a study's training, and of what its dry run found."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from veneer.dry_run import Finding
from veneer.planning import Training
from veneer.study_train import TrainSpec
from veneer.train.ladder import amount_name
from veneer.train_plan import RungPlan


def training(found: Training, train: TrainSpec) -> Iterator[str | Table]:
    """Yield the lines and tables that say what making all students takes."""
    yield from _machine(found)
    yield _rungs(found)
    yield _bases(found)
    yield from _totals(found, train)


def _machine(found: Training) -> Iterator[str]:
    """Yield the lines that say for which machine the plan is, and what it goes by."""
    one, over = found.machine, found.bases[0].over
    peaks = "measured here" if one.measured else "by its data sheet"
    yield (
        f"  hardware  {over.devices} x {one.name}, {one.memory_gb:.0f} GB; {one.bf16:,.3g} TFLOPS in bf16 and "
        f"{one.fp32:,.3g} in fp32, {peaks}"
    )
    if found.trials:
        yield "  hours     by a minute of training here on weights of chance, one student after another"
    else:
        yield f"  hours     at {found.share:.0%} of that, one student after another; --calibrate measures it here"


def _bases(found: Training) -> Table:
    """Return the table of what each base takes."""
    table = Table(
        "base", "parameters", "learn", "students", "GB a device", "weights", "gradients", "optimizer",
        "activations", "fits", "FLOPs", "hours", "disk, GB", box=None, pad_edge=False,
    )  # fmt: skip
    for plan, passed in zip(found.bases, found.seconds, strict=True):
        need = plan.memory
        parts = (need.weights, need.gradients, need.optimizer, need.activations)
        table.add_row(
            plan.base, _count(plan.shape.parameters), _count(plan.shape.trained), str(len(plan.rungs)),
            f"{found.held(plan):.3g}", *(f"{part / 1e9:.3g}" for part in parts),
            "yes" if found.fits(plan) else "NO", f"{plan.operations:.2e}", _hours(passed), f"{plan.disk / 1e9:,.3g}",
        )  # fmt: skip
    return table


def _rungs(found: Training) -> Table:
    """Return the table of every amount's tokens and steps."""
    table = Table(
        "base",
        "source",
        "amount",
        "students",
        "tokens",
        "optimizer steps",
        "with replay",
        box=None,
        pad_edge=False,
    )
    groups: dict[tuple[str, str, int, float], list[RungPlan]] = {}
    for plan in found.bases:
        for one in plan.rungs:
            key = (one.rung.base, one.rung.source, one.rung.amount, one.rung.replay)
            groups.setdefault(key, []).append(one)
    for (base, source, amount, replay), own in groups.items():
        about = "" if all(one.exact for one in own) else "~"
        table.add_row(
            base, source, amount_name(amount), str(len(own)), f"{about}{_span([one.tokens for one in own])}",
            f"{about}{_span([one.steps for one in own])}",
            f"{replay:.0%}, {about}{_span([one.replay for one in own])} tokens" if replay else "",
        )  # fmt: skip
    return table


def _totals(found: Training, train: TrainSpec) -> Iterator[str]:
    """Yield the lines that add all of it up."""
    every = [one for plan in found.bases for one in plan.rungs]
    tokens = sum(one.tokens + one.replay for one in every)
    passed = sum(one.tokens + one.replay - one.shared for one in every)
    said = f"  training  {_count(tokens)} tokens"
    if train.shares_trunk:
        said += f", of which trunks leave {_count(passed)} to go through"
    devices, hours = found.bases[0].over.devices, sum(found.seconds) / 3600
    operations = sum(plan.operations for plan in found.bases)
    yield f"{said}; {operations:.2e} operations; {hours:,.3g} hours" + (
        f", {hours * devices:,.3g} of one device" if devices > 1 else ""
    )
    yield f"  disk      {found.disk / 1e9:,.3g} GB for students and saved states; {found.free / 1e9:,.0f} GB are free"
    if not all(one.exact for one in every):
        yield "  ~ goes by the amounts: full blocks, no row left out; exact once `prepare` is done."


def findings(found: Sequence[Finding]) -> Iterator[str]:
    """Yield what the dry run found, the worst first."""
    if not found:
        yield "dry run: every file, prompt, model and key is as it must be"
        return
    stops = sum(one.stops for one in found)
    yield f"dry run: {stops} would stop the run, {len(found) - stops} would not"
    for one in sorted(found, key=lambda each: not each.stops):
        yield f"  {'stops' if one.stops else 'note '}  {one.where}: {one.message}"


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"


def _hours(passed: float) -> str:
    return f"{passed / 3600:,.2f}" if passed >= 36 else f"{passed:.1f} s"


def _span(numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return "unknown"
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
