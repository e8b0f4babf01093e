"""Algorithms 1 and 2 of the paper, transcribed line by line: slow, plain, and the reference of the tests.

The comments give the paper's line numbers. Where a reading (R1, R2, R4, R5, R6) changes a line, the comment
says so; `as_printed` leaves R1 and R2 out. Python counts from 0 where the paper counts from 1.
"""

from dataclasses import dataclass

import numpy as np

BACKGROUND, IGNORE = 0, 255


def algorithm_1(label_maps: list[np.ndarray], num_categories: int) -> np.ndarray:
    """Compute the co-occurrence matrix: C_ss, int64 (N, N)."""
    C_ss = np.zeros((num_categories, num_categories), dtype=np.int64)  # 1
    for C_i in range(1, num_categories):  # 2 (R6: background is no category)
        for ground_truth in label_maps:  # 3
            unique_cat = set(np.unique(ground_truth).tolist())  # 4
            unique_cat -= {BACKGROUND, IGNORE}  # R6: the paper never removes them
            if C_i in unique_cat:  # 5
                unique_cat.remove(C_i)  # 6
                for m in unique_cat:  # 7
                    C_ss[C_i, m] = C_ss[C_i, m] + 1  # 8
    return C_ss  # 9 to 12


@dataclass(frozen=True)
class Mixed:
    """One sample of B', with what the algorithm knew when it chose."""

    image: np.ndarray  # I_ss^k
    dominant: np.ndarray  # Y'_1
    phantom: np.ndarray  # Y'_2
    delta: float
    top_sim_idx: int
    similarity_score: list[int]
    mixed_category_list: list[int]
    candidates: list[int]  # every index that line 28 may choose


def algorithm_2(
    images: list[np.ndarray],
    label_maps: list[np.ndarray],
    C_ss: np.ndarray,
    *,
    alpha: float,
    gamma: int,
    rng: np.random.Generator,
    count: str = "sum",
    as_printed: bool = False,
) -> list[Mixed]:
    """Co-occurrence based image blending: B'.

    Args:
        count: "sum" as line 23 prints it, or "union" (R4).
        as_printed: one delta for the batch that keeps 0.9 once it was set, and an argmax that may return the
            sample itself, as printed: without R1 and R2.
    """
    size = len(images)
    if alpha > 0:  # 1  # noqa: SIM108 - five lines, as printed
        delta = rng.beta(alpha, alpha)  # 2
    else:  # 3
        delta = 1.0  # 4
    # 5
    batch = []  # 6
    for k in range(size):  # 7
        if not as_printed:  # R1: one delta for each sample. R3 folds it: the dominant image weighs more
            delta = rng.beta(alpha, alpha) if alpha > 0 else 1.0
            delta = max(delta, 1 - delta)
        similarity_score = [0] * size  # 8
        mixed_category_list = [0] * size  # 9
        for m in range(size):  # 10
            if k != m:  # 11
                K_unique = np.unique(label_maps[k]).tolist()  # 12
                M_unique = np.unique(label_maps[m]).tolist()  # 13
                K_unique = [c for c in K_unique if c not in (BACKGROUND, IGNORE)]  # 14
                M_unique = [c for c in M_unique if c not in (BACKGROUND, IGNORE)]
                if len(K_unique) >= 1 and len(M_unique) >= 1:  # 15
                    cooccurrence_score = 0  # 16
                    for i in range(len(M_unique)):  # 17
                        for j in range(len(K_unique)):  # 18
                            # 19 (R5: K_unique[j], where the paper's index slips to K_unique[i])
                            cooccurrence_score = cooccurrence_score + int(C_ss[M_unique[i]][K_unique[j]])
                    # 20, 21
                    similarity_score[m] = cooccurrence_score  # 22
                    if count == "sum":
                        mixed_category_list[m] = len(M_unique) + len(K_unique)  # 23
                    else:  # R4: "the total number of unique semantic categories in the chosen pair"
                        mixed_category_list[m] = len(set(M_unique) | set(K_unique))
        # 24 to 26
        if as_printed:
            top_sim_idx = int(rng.integers(size))  # 27
            top_sim_idx = int(np.argmax(similarity_score))  # 28
            candidates = [top_sim_idx]
        else:  # R2: never itself unless alone; one of the best, drawn (with no positive score: of all others)
            others = [m for m in range(size) if m != k] or [k]
            best = max(similarity_score[m] for m in others)
            candidates = [m for m in others if similarity_score[m] == best]
            top_sim_idx = candidates[int(rng.integers(len(candidates)))]
        if mixed_category_list[top_sim_idx] > gamma:  # 29
            delta = 0.9  # 30
        # 31
        mixed = delta * images[k] + (1 - delta) * images[top_sim_idx]  # 32
        batch.append(  # 33, 34
            Mixed(
                image=mixed,
                dominant=label_maps[k],
                phantom=label_maps[top_sim_idx],
                delta=delta,
                top_sim_idx=top_sim_idx,
                similarity_score=similarity_score,
                mixed_category_list=mixed_category_list,
                candidates=candidates,
            )
        )
    return batch  # 35
