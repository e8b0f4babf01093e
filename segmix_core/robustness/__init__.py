"""The study of robustness: what networks say of images that were attacked, perturbed or corrupted."""
