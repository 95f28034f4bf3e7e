"""`python -m keyweave.cli.manual PAGE`: write the reference anew, below its mark in a page of the docs."""

import sys
from pathlib import Path

from keyweave.cli.manual import pages, tree
from keyweave.cli.words import command_line


def with_reference(text: str) -> str:
    """A page with the reference of now."""
    before, mark, _ = text.partition(pages.BEGIN)
    if not mark:
        raise SystemExit(f"the page has no line {pages.BEGIN}")
    app = command_line()
    return before + pages.reference(list(tree.walk(app)), tree.finding(app))


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")
