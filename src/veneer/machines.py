"""The machines that a plan is made for: a few accelerators by their data sheets, or the one that is here."""

from dataclasses import dataclass

from veneer import needs
from veneer.errors import StudyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One device that trains."""

    name: str
    memory_gb: float
    bf16: float
    """Dense matrix products in bf16, in 10^12 operations a second."""
    fp32: float
    """The same in fp32."""
    measured: bool = False
    """Whether the two were measured here; else they are the data sheet's."""

    def peak(self, precision: str) -> float:
        """Return the operations a second of matrix products in fp32 or bf16."""
        return 1e12 * (self.bf16 if precision == "bf16" else self.fp32)


SHEETS = {
    machine.name: machine
    for machine in (
        Machine(name="a100-40gb", memory_gb=40, bf16=312, fp32=19.5),
        Machine(name="a100", memory_gb=80, bf16=312, fp32=19.5),
        Machine(name="h100", memory_gb=80, bf16=989, fp32=67),
        Machine(name="h200", memory_gb=141, bf16=989, fp32=67),
        Machine(name="b200", memory_gb=180, bf16=2250, fp32=75),
        Machine(name="l4", memory_gb=24, bf16=121, fp32=30),
        Machine(name="l40s", memory_gb=48, bf16=362, fp32=91),
        Machine(name="mi300x", memory_gb=192, bf16=1307, fp32=163),
    )
}
"""By the makers' data sheets, without sparsity; the SXM or OAM form where there are several."""


def named(name: str) -> Machine:
    """Return a machine by its name in the table.

    Raises:
        StudyError: There is none of this name.
    """
    if found := SHEETS.get(name.lower()):
        return found
    raise StudyError(
        f"--on-hardware {name}: not in the table of data sheets, which has {', '.join(SHEETS)}. Name one of them, or "
        "leave it out to plan for this machine."
    )


def here(threads: int) -> Machine:
    """Return this machine: its first GPU, or its processor; what its matrix products reach is measured.

    Args:
        threads: Of the processor, that one training takes.
    """
    # Imports torch, which a plan for another machine can do without.
    import torch

    from veneer.train.hardware import matmul_peak

    if torch.cuda.is_available():
        name, device = torch.cuda.get_device_name(0), "cuda:0"
        memory = torch.cuda.get_device_properties(0).total_memory
    else:
        name, device = f"this processor, {threads} thread{'s' if threads > 1 else ''}", "cpu"
        memory = needs.memory()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        bf16, fp32 = (matmul_peak(device, precision, threads) / 1e12 for precision in ("bf16", "fp32"))
    finally:
        torch.set_num_threads(before)
    return Machine(name=name, memory_gb=memory / 1e9, bf16=bf16, fp32=fp32, measured=True)
