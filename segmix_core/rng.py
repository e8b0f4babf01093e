"""One source of randomness: a stream of numbers for each thing that is drawn, named after it."""

import hashlib
import json

import numpy as np


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and `path` alone, such as `stream(0, "mix", step)`.

    No draw can move another one: resuming and the number of loading processes change nothing, because what is
    drawn at a step comes from the stream of that step.
    """
    name = json.dumps([int(seed), *(part if isinstance(part, str) else int(part) for part in path)])
    key = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
