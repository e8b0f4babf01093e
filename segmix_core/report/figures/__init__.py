"""Figures of the book: label maps in VOC's palette, blends, confidence maps, matrices, curves, intervals."""

from segmix_core.report.figures.attacks import (
    aim_points,
    attack_matrix,
    drop_points,
    epsilon_curves,
    severity_curves,
)
from segmix_core.report.figures.cooccurrence import cluster_order, matrix_picture, pair_graph
from segmix_core.report.figures.pictures import (
    Drawing,
    Place,
    category_key,
    confidence_picture,
    image_picture,
    label_picture,
    panels,
)
from segmix_core.report.figures.scores import (
    category_bars,
    contrast_points,
    dumbbells,
    loss_curves,
    rare_curves,
    score_points,
    separation_curves,
    stage_points,
    variation_points,
)
from segmix_core.report.figures.style import DOMINANT, METHOD_COLOURS, PHANTOM, use_book_style

__all__ = [
    "DOMINANT",
    "METHOD_COLOURS",
    "PHANTOM",
    "Drawing",
    "Place",
    "aim_points",
    "attack_matrix",
    "category_bars",
    "category_key",
    "cluster_order",
    "confidence_picture",
    "contrast_points",
    "drop_points",
    "dumbbells",
    "epsilon_curves",
    "image_picture",
    "label_picture",
    "loss_curves",
    "matrix_picture",
    "pair_graph",
    "panels",
    "rare_curves",
    "score_points",
    "separation_curves",
    "severity_curves",
    "stage_points",
    "use_book_style",
    "variation_points",
]
