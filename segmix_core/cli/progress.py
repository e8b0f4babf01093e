"""What is said on standard error while a command works."""

import functools
import sys
import time
from typing import Any


@functools.cache
def note(message: str) -> None:
    """Say something once, however many seeds and experiments a command has."""
    print(f"segmix: note: {message}", file=sys.stderr)


class ProgressLine:
    """A bar with rate, loss and time left on a terminal; a plain line every half minute elsewhere.

    What it is told beside the number is the terms of a loss, of which it shows the total, or one number with
    its name, such as the fooling rate of a perturbation.
    """

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.bar: Any = None
        self.began = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, terms: dict[str, float] | None = None) -> None:
        """Say that `done` of `total` is done, and what is told with it."""
        terms = {"loss": terms["total"]} if terms and "total" in terms else terms
        told = {name: f"{value:.3f}" for name, value in (terms or {}).items()}
        if sys.stderr.isatty():
            from tqdm import tqdm

            if self.bar is None:
                self.bar = tqdm(total=total, desc=self.what, unit=f" {self.unit}", initial=0, leave=False)
            if told:
                self.bar.set_postfix(told, refresh=False)
            self.bar.total = total
            self.bar.update(done - self.bar.n)
            if done >= total:
                self.bar.close()
                self.bar = None  # what comes next begins anew
            return
        now = time.monotonic()
        if self.first is None or done < self.first:
            self.first, self.began = done, now
        if now - self.said < 30 and done < total:
            return
        self.said = now
        rate = (done - self.first) / (now - self.began) if now > self.began else 0.0
        fast = f", {rate:.2f}/s" if rate else ""
        values = "".join(f", {name} {value}" for name, value in told.items())
        left = f", {(total - done) / rate / 60:.1f} min left" if rate else ""
        print(f"{self.what}: {done}/{total} {self.unit}{fast}{values}{left}", file=sys.stderr, flush=True)
        if done >= total:
            self.first = None  # what comes next begins anew
