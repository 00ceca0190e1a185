"""Fills the page reference/command-line.md while the documentation is built, with what `--help` says."""

import subprocess
import sys
from typing import Any

PAGE = "reference/command-line.md"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return that page with every command and option below its text; other pages as they are."""
    if page.file.src_uri != PAGE:
        return markdown
    asked = [sys.executable, "-m", "typer", "veneer.cli", "utils", "docs", "--name", "veneer"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return markdown + "\n## " + said.split("\n## ", 1)[1]
