"""The streams that everything drawn comes from: numbers that only a change of all results may change."""

import numpy as np

from segmix_core.rng import stream


def test_a_stream_is_what_it_was() -> None:
    assert stream(0).integers(10**6, size=3).tolist() == [832469, 949472, 42744]
    assert stream(7, "mix", 12).integers(10**6, size=3).tolist() == [921564, 114920, 606314]


def test_seed_and_every_part_of_the_path_name_a_stream_of_their_own() -> None:
    named = [
        (0,), (1,), (0, 0), (0, "0"), (10, 0), (1, 0, 0), (0, "mix"), (0, "noise"), (0, "mix1"),
        (0, "mix", 0), (0, "mix", 1), (0, "mix", "1"), (1, "mix", 1), (0, 1, "mix"), (0, "mix", 1, 0),
    ]  # fmt: skip
    drawn = {tuple(stream(*path).integers(2**62, size=2).tolist()) for path in named}
    assert len(drawn) == len(named)


def test_the_same_path_is_the_same_stream_whatever_its_integers() -> None:
    first, again = stream(3, "order", 5), stream(np.int64(3), "order", np.int32(5))
    np.testing.assert_array_equal(first.random(4), again.random(4))
