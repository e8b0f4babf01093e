"""The networks: encoder, source separator, and how a stored one is opened."""

from segmix_core.models.encoder import BACKBONES, Encoder, load_encoder
from segmix_core.models.precision import Precision, autocast, native
from segmix_core.models.separation import SourceSeparation
from segmix_core.models.stored import load_model, load_weights, read_checkpoint

__all__ = [
    "BACKBONES",
    "Encoder",
    "Precision",
    "SourceSeparation",
    "autocast",
    "load_encoder",
    "load_model",
    "load_weights",
    "native",
    "read_checkpoint",
]
