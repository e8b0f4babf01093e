"""The two ways a command ends early: the input was bad (exit 2), or the work failed (exit 1)."""

LONGEST = 400
"""Letters of what is wrong; what cites more, of a file or of a server, is cut."""


def short(text: str) -> str:
    """A text of at most `LONGEST` letters: of a longer one, its beginning."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


class InputError(ValueError):
    """Bad input, said in one line: where, what is wrong, and what to do about it."""

    def __init__(self, where: object, what: str, todo: str) -> None:
        self.where, self.what, self.todo = str(where), short(what), todo
        super().__init__(f"{self.where}: {self.what}; {self.todo}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Keep the three parts when a data-loading process hands the error to its parent."""
        return type(self), (self.where, self.what, self.todo)


class LabelError(InputError):
    """A label map that breaks the rules: integers 0..N-1, and 255 alone for ignored pixels."""


class WorkError(RuntimeError):
    """The input was fine and the work failed all the same (a non-finite loss, a full disk)."""
