"""Opens a model from where it lies."""

from pathlib import Path
from typing import Literal

from veneer import absent
from veneer.errors import ModelError
from veneer.models import replay
from veneer.models.model import Model, ModelRef


def open_model(
    ref: ModelRef,
    *,
    batch_size: int = 64,
    precision: Literal["fp32", "bf16"] = "fp32",
    engine: Literal["transformers", "vllm"] = "transformers",
) -> Model:
    """Return the model that a reference names.

    Args:
        ref: A checkpoint (which comes back as a `ScoringModel`), an endpoint or recordings.
        batch_size: Rows that a checkpoint answers or scores at once.
        precision: Of a checkpoint's weights.
        engine: What writes a checkpoint's completions.

    Raises:
        ModelError: There is no such model, or it cannot be loaded.
        DataError: A recording is malformed.
    """
    if ref.endpoint:
        # The openai client and its transport take a second to load.
        from veneer.models.remote import RemoteModel

        return RemoteModel(name=ref.name, endpoint=ref.endpoint, journal=ref.path, cap=ref.spend_cap)
    if not Path(ref.path).exists():
        raise ModelError(f"{ref.name}: {ref.path} does not exist; a {ref.kind} was expected there.")
    if gone := sorted(absent.of(ref.path)):
        raise ModelError(
            f"{ref.name}: {ref.path} came without its weights, which the export left out, and it is to be asked "
            f"something new. Put {gone[0]} there ({len(gone)} of such files), as it was: the rest is found again."
        )
    if ref.kind == "replay":
        return replay.load(ref)
    # Loading torch and transformers takes seconds, and recordings need neither.
    from veneer.models import local

    return local.load(ref, batch_size=batch_size, precision=precision, by=engine)
