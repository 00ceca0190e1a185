"""A checkpoint's size is read from its headers."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from veneer.analyze.effort import parameters_of


def test_the_numbers_of_all_files_are_counted(tmp_path: Path) -> None:
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(5)}, tmp_path / "one.safetensors")
    save_file({"c": np.zeros((2, 2, 2))}, tmp_path / "two.safetensors")
    assert parameters_of(tmp_path) == 25


def test_a_folder_without_weights_has_no_size(tmp_path: Path) -> None:
    assert parameters_of(tmp_path) == 0
