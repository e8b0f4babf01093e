"""SegMix: co-occurrence driven mixup and source separation for semantic segmentation."""

__version__ = "0.1.0"
