"""A model that exists only as recorded completions: it answers what was recorded and says so of the rest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from veneer import disk
from veneer.errors import DataError
from veneer.models.model import ModelRef, Sampling
from veneer.records import Completion, Prompt, Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayModel:
    """Recorded completions under a model's name.

    How a recorded completion was sampled is not known: sampling settings other than `samples` change nothing, its
    rendering is empty and its token counts are 0.
    """

    name: str
    texts: Mapping[tuple[str, int], str]
    """(prompt's id, sample) to the text."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """Yield the recorded completion of every prompt; `Stop.FAILED` and no text where there is none."""
        for prompt in prompts:
            for sample in range(sampling.samples):
                yield self._completion(prompt.prompt_id, sample)

    def _completion(self, prompt_id: str, sample: int) -> Completion:
        text = self.texts.get((prompt_id, sample))
        missing = f"no recording of sample {sample} of prompt {prompt_id!r}"
        return Completion(
            prompt_id=prompt_id,
            sample=sample,
            model=self.name,
            rendered="",
            text="" if text is None else text,
            stop=Stop.FAILED if text is None else Stop.END,
            detail=missing if text is None else "",
            tokens_in=0,
            tokens_out=0,
        )


def load(ref: ModelRef) -> ReplayModel:
    """Read the recordings: JSONL rows with the prompt's id, the text and, where there are several, `sample`.

    Raises:
        DataError: A row lacks a field, or records one sample of one prompt a second time.
    """
    texts: dict[tuple[str, int], str] = {}
    for where, row in disk.read_rows(ref.path):
        prompt_id = _field(row, ref.prompt_field, where, "prompt_field", str | int)
        text = _field(row, ref.text_field, where, "text_field", str)
        sample = row.get("sample", 0)
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
            raise DataError(f"{where}, field sample: found {sample!r}; 0, 1, 2 and so on are allowed.")
        if (str(prompt_id), sample) in texts:
            raise DataError(
                f"{where}: prompt {prompt_id!r} has a sample {sample} already. Several recordings of one prompt need "
                "a field `sample` that counts 0, 1, 2 and so on."
            )
        texts[str(prompt_id), sample] = text
    return ReplayModel(name=ref.name, texts=MappingProxyType(texts))


def _field(row: Mapping[str, Any], field: str, where: str, setting: str, kind: Any) -> Any:
    if field not in row:
        raise DataError(
            f"{where}: has no field {field!r}; its fields are {sorted(row)}. Name the right one as `{setting}`."
        )
    if not isinstance(row[field], kind) or isinstance(row[field], bool):
        wanted = getattr(kind, "__name__", "text or whole number")
        raise DataError(f"{where}, field {field}: found {row[field]!r}; a {wanted} is wanted.")
    return row[field]
