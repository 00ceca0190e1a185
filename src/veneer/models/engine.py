"""Decoding by vLLM (an extra, on a GPU): the same tokens asked, the same ends, and its own way of batching."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from veneer.errors import ModelError
from veneer.models.decode import Ending, Row, Written, ended

MEMORY = 0.45
"""Share of the GPU's memory for vLLM; the likelihoods of the same model are read by transformers beside it."""

AT_ONCE = 2048
"""Rows that vLLM is handed at once: it gives them back together, and a kill loses those it has in hand."""


def load(name: str, path: Path, precision: str) -> Any:
    """Return vLLM's engine for a checkpoint.

    Raises:
        ModelError: vLLM is not installed, or cannot load the checkpoint.
    """
    try:
        from vllm import LLM
    except ImportError as error:
        raise ModelError(
            f"{name}: `evaluate.engine: vllm` needs vLLM and a GPU: pip install 'veneer[vllm]', or leave `engine` out."
        ) from error
    try:
        return LLM(
            model=str(path),
            dtype="bfloat16" if precision == "bf16" else "float32",
            enable_prefix_caching=True,
            gpu_memory_utilization=MEMORY,
            trust_remote_code=False,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"{name}: vLLM cannot load {path}: {error}. Leave `evaluate.engine` out.") from error


def decode(
    engine: Any, rows: Sequence[Row], *, temperature: float, stop: Sequence[str], ending: Ending
) -> Iterator[tuple[int, Written]]:
    """Continue every row; yield its number and what was written after it.

    Args:
        engine: As `load` returns it.
        rows: What to continue.
        temperature: 0 is greedy.
        stop: Strings that end a completion.
        ending: What ends one, as in `decode.decode`: it is looked for in vLLM's tokens again.
    """
    from vllm import SamplingParams

    def how(row: Row) -> Any:
        return SamplingParams(
            temperature=temperature,
            max_tokens=row.limit,
            stop=list(stop) or None,
            stop_token_ids=sorted(ending.tokens),
            seed=int(row.uniforms[0] * 2**31) if temperature else None,
            include_stop_str_in_output=True,
            # Stop strings are looked for in the text without them, as `ending` does.
            skip_special_tokens=True,
        )

    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        asked = [{"prompt_token_ids": list(row.tokens)} for row in some]
        wrote = engine.generate(asked, [how(row) for row in some], use_tqdm=False)
        for number, (row, found) in enumerate(zip(some, wrote, strict=True), start):
            yield number, _read(list(found.outputs[0].token_ids), row, ending)


def _read(tokens: Sequence[int], row: Row, ending: Ending) -> Written:
    """Return a completion up to where it ended."""
    for count in range(1, len(tokens) + 1):
        if written := ended(list(tokens[:count]), row.limit, ending):
            return written
    raise ModelError(
        f"vLLM ended a completion after {len(tokens)} of {row.limit} tokens for no reason that was asked for. Leave "
        "`evaluate.engine` out."
    )
