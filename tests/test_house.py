"""The house stays as planned: every module imports on a bare machine, files are short, light things stay light."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import veneer
from veneer import errors

SOURCE = Path(veneer.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SOURCE)], "veneer."))
FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_without_an_accelerator(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_file_is_short_and_opens_with_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 420


def test_every_function_is_short() -> None:
    long = [
        f"{path.relative_to(SOURCE)}:{node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 66
    ]
    assert long == []


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'sklearn', 'matplotlib'}"
    program = f"import sys, veneer.cli; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_no_code_that_a_checkpoint_brings_is_run_or_asked_about() -> None:
    """Left open, transformers may ask at the terminal whether to run it."""
    calls = [
        (path.relative_to(SOURCE), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"from_pretrained", "from_config"}
        and ast.unparse(node.func.value).startswith("Auto")
    ]
    silent = [
        f"{path}:{node.lineno}"
        for path, node in calls
        if not any(keyword.arg in {None, "trust_remote_code"} for keyword in node.keywords)
        or "trust_remote_code=True" in ast.unparse(node)
    ]
    assert len(calls) > 5
    assert silent == []


def test_every_error_can_be_raised_and_read() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 5
    for kind in kinds:
        with pytest.raises(errors.VeneerError, match="what to do"):
            raise kind("where, what was found, what is allowed, what to do")
