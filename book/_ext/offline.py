"""Keeps pages to themselves: no script or style sheet from another host, whatever a theme would add."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def drop_foreign(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Take every file with an address of its own, and the loader of live code cells, off the page."""
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not _foreign(asset)]


def _foreign(asset: Any) -> bool:
    name = str(getattr(asset, "filename", asset) or "")
    body = str(getattr(asset, "attributes", {}).get("body", ""))
    return "://" in name or "thebe" in name or "thebe" in body


_UNWANTED = re.compile(
    r'<link rel="preload" as="font"[^>]*>\s*'  # browsers refuse these to a page opened from a file
    r"|<script [^>]*fontawesome[^>]*></script>\s*"  # 1.5 MB to draw icons that the page has as a font
)


def drop_unwanted(app: Sphinx, exception: Exception | None) -> None:
    """Take out of each page what the theme's template writes into it by hand."""
    for page in Path(app.outdir).rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        kept = _UNWANTED.sub("", html)
        if kept != html:
            page.write_text(kept, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Run after every other extension has added its files, and once more when all pages are written."""
    app.connect("html-page-context", drop_foreign, priority=999)
    app.connect("build-finished", drop_unwanted)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
