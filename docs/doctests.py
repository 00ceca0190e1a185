"""Shows the examples of docstrings, `>>>` and what comes out, as code in the reference."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts fences around what stands between a `>>>` and the next empty line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a class, function or attribute before it is read for its sections."""
        if obj.docstring:
            found = EXAMPLE.sub(lambda shown: f"```pycon\n{shown[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = found
