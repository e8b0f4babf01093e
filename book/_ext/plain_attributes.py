"""Docstrings of attributes are prose: "Colour of the border, RGB: grey" names no type before its colon."""

from __future__ import annotations

from sphinx.application import Sphinx


def keep_first_line(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Put a space that is not shown before an attribute's text, so that napoleon finds no type in it."""
    if what in ("attribute", "data", "property") and lines:
        lines.insert(0, "\\ ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon reads a docstring."""
    app.connect("autodoc-process-docstring", keep_first_line, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
