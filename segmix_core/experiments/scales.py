"""The four sizes of run. A number measured at one scale is never shown as if it came from another."""

from dataclasses import replace

from segmix_core.experiments.factors import Scale

DEMO = Scale(
    name="demo",
    backbone="resnet18w32",
    weights="silhouettes",
    output_stride=8,
    aspp_channels=64,
    aspp_rates=(2, 4, 6),
    crop=96,
    eval_crop=128,
    stage1_steps=250,
    stage2_steps=75,
    stage1_lr=1e-2,
    stage2_lr=1e-3,
    head_lr_factor=10.0,
    silhouettes=(1000, 400, 128),
)
"""Two cores, minutes. It shows that every part works; it resolves no difference between methods."""

SMOKE = replace(
    DEMO,
    name="smoke",
    weights=None,
    crop=48,
    eval_crop=64,
    stage1_steps=4,
    stage2_steps=2,
    batch_size=8,
    silhouettes=(48, 24, 64),
)
"""Seconds, on random weights: exercises the code path of a chapter and nothing else."""

MINI = replace(
    DEMO,
    name="mini",
    crop=128,
    eval_crop=256,
    stage1_steps=3000,
    stage2_steps=600,
    silhouettes=(2400, 1000, 128),
)
"""One GPU for minutes, or two cores for an hour or so."""

PAPER = Scale(
    name="paper",
    backbone="resnet101",
    weights="imagenet",
    output_stride=16,
    aspp_channels=256,
    aspp_rates=(6, 12, 18),
    crop=513,
    eval_crop=513,
    epochs=50,
    silhouettes=(10582, 1449, 513),
)
"""As printed in sections 4.1 and 4.2: ResNet-50 or -101, random crops of 513 pixels, 50 + 50 epochs, the
rate. Ours: ImageNet weights, batch 16 and stride 16 (R8), the branches at ten times the rate
(R17), scaling and mirroring (R26)."""

SCALES: dict[str, Scale] = {scale.name: scale for scale in (SMOKE, DEMO, MINI, PAPER)}
