"""Asks an endpoint once more what it left without an answer, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

from veneer.models.model import ModelRef, Sampling
from veneer.models.open import open_model
from veneer.records import Completion, Prompt, Stop


def mended(
    known: Sequence[Completion], prompts: Sequence[Prompt], sampling: Sampling, ref: ModelRef
) -> list[Completion]:
    """Return the completions with those that failed asked again; what still has no answer stays as it is.

    Args:
        known: What is there, in any order.
        prompts: What was asked, at least where it failed.
        sampling: How it was asked.
        ref: Who was asked. Of another kind than an endpoint, all stays as it is: it would fail again.

    Raises:
        ModelError: The endpoint cannot be used.
        BudgetError: The cap would be passed.
    """
    failed = {one.prompt_id for one in known if one.stop is Stop.FAILED}
    if not failed or ref.endpoint is None:
        return list(known)
    # They were allowed to fail once: that they do again is no error.
    lenient = replace(ref, endpoint=ref.endpoint.model_copy(update={"may_fail": 1.0}))
    asked = [prompt for prompt in prompts if prompt.prompt_id in failed]
    fresh = {(one.prompt_id, one.sample): one for one in open_model(lenient).generate(asked, sampling)}
    return [fresh[one.prompt_id, one.sample] if one.stop is Stop.FAILED else one for one in known]
