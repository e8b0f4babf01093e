"""The training loop: stage 1 on blends, stage 2 on plain images, and the checkpoints between."""

from segmix_core.training.checkpoint import Progress, begin_after_stage1
from segmix_core.training.pretrain import Pretraining, pretrain, write_encoder
from segmix_core.training.samples import TrainingBatches
from segmix_core.training.stages import Plan, learning_rate, poly, train

__all__ = [
    "Plan",
    "Pretraining",
    "Progress",
    "TrainingBatches",
    "begin_after_stage1",
    "learning_rate",
    "poly",
    "pretrain",
    "train",
    "write_encoder",
]
