"""The command line, `segmix`. Nothing heavy is imported before a command needs it."""

from segmix_core.cli.command import main

__all__ = ["main"]
