"""Tells whether a model trained on another model's outputs got better or only sounds better."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veneer.api import (
        Estimate,
        Number,
        Study,
        Undefined,
        cohen_kappa,
        gap_closed,
        krippendorff_alpha,
        load_study,
        read_report,
        report_rows,
        run,
        style_features,
        style_gap_closed,
        supported,
        win_rate,
        word_overlap,
    )

__all__ = [
    "Estimate", "Number", "Study", "Undefined", "cohen_kappa", "gap_closed", "krippendorff_alpha", "load_study",
    "read_report", "report_rows", "run", "style_features", "style_gap_closed", "supported", "win_rate", "word_overlap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return what `__all__` names, read when it is first asked for: `import veneer` costs next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'veneer' has no attribute {name!r}; it has {__all__}")
    from importlib import import_module

    found = getattr(import_module("veneer.api"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
