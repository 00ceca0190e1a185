"""Says what is wrong with a study file so that it can be mended."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationError


def explain(path: Path, error: ValidationError, schema: dict[str, Any]) -> str:
    """Return what is wrong with a file: each key, what was found there, and the nearest known one.

    Args:
        path: The file.
        error: What pydantic found.
        schema: The JSON schema of what the file should hold.
    """
    lines = [f"{path}: {error.error_count()} thing(s) to mend:"]
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        if place[:1] == ["judges"]:
            del place[2:3]  # The judge's kind, which the file does not name as a key.
            if place[3:4] in (["a name"], ["its own"]):
                del place[3]  # Nor which way its model is named.
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _known_keys(place[:-1], schema)
            near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.0)
            text = (
                f"unknown key; the nearest known one is `{near[0]}` (known: {', '.join(known)})"
                if near
                else text
            )
        elif problem["type"] == "missing":
            text = "is missing"
        elif problem["type"] == "model_type":
            text = f"a section is wanted, with keys among {', '.join(_known_keys(place, schema))}"
            text += f" (found {type(problem['input']).__name__})"
        elif isinstance(problem["input"], bool):
            text += f" (found {problem['input']}: YAML reads a bare yes/no/on/off so; put it in quotes)"
        elif place[-1:] in (["key"], ["url"]):
            text += " (what was found is not shown, since it may hold a secret)"
        elif not isinstance(problem["input"], dict):
            text += f" (found {problem['input']!r})"
        lines.append(f"  {'.'.join(place) or 'the study'}: {text}")
    return "\n".join(lines)


def _known_keys(place: list[str], schema: dict[str, Any]) -> list[str]:
    """Return the keys allowed where `place` leads, following the models' own schema."""
    nodes = [schema]
    for part in place:
        step = []
        for node in nodes:
            inner = (
                node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items")
            )
            inner = inner or next(iter(node.get("patternProperties", {}).values()), None)
            step += _alternatives(inner, schema) if isinstance(inner, dict) else []
        nodes = step
    return sorted({key for node in nodes for key in node.get("properties", {})})


def _alternatives(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _alternatives(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    if options := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
        return [found for option in options for found in _alternatives(option, schema)]
    return [node]
