"""What asking a model takes depends on where it is."""

from pathlib import Path
from typing import Literal

import pytest

from veneer.models.model import ModelRef
from veneer.needs import Needs


@pytest.mark.parametrize(
    ("kind", "needs"),
    [
        ("checkpoint", Needs(gpus=1, memory=4000)),
        ("replay", Needs()),
        ("endpoint", Needs(home=True)),
    ],
)
def test_a_checkpoint_takes_a_gpu_or_memory_and_an_endpoint_next_to_nothing(
    tmp_path: Path, kind: Literal["checkpoint", "endpoint", "replay"], needs: Needs
) -> None:
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2000)
    assert ModelRef(name="some", kind=kind, path=tmp_path, digest="d").needs == needs
