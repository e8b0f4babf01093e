"""The five methods of Table 1, and two baselines of defence that give their robustness a scale."""

from dataclasses import replace

from segmix_core.experiments.factors import Cap, Delta, Experiment, Method

BASELINE = Method()
MIXUP = Method(pairing="random", blend="linear", delta=Delta(distribution="beta", alpha=1.0, fold=False))
CUTMIX = Method(pairing="random", blend="cutmix", delta=Delta(distribution="beta", alpha=1.0, fold=False))
SOURCESEP_CC = Method(
    pairing="clusters",
    blend="linear",
    delta=Delta(distribution="uniform", low=0.7, high=1.0),
    head="full",
    finetune="denoise",
)
SOURCESEP_CM = Method(
    pairing="cooccurrence",
    blend="linear",
    delta=Delta(distribution="beta", alpha=0.4),
    cap=Cap(gamma=3),
    head="full",
    finetune="denoise",
)

METHODS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(name="baseline", method=BASELINE, summary="DeepLabv3 on plain images"),
        Experiment(name="mixup", method=MIXUP, summary="DeepLabv3 + Mixup: random pairs, mixed labels"),
        Experiment(name="cutmix", method=CUTMIX, summary="DeepLabv3 + CutMix: random pairs, pasted boxes"),
        Experiment(
            name="sourcesep-cc",
            method=SOURCESEP_CC,
            summary="source separation on categorical clusters (section 3.1.1)",
        ),
        Experiment(
            name="sourcesep-cm",
            method=SOURCESEP_CM,
            summary="source separation on co-occurrence pairs (Algorithm 2)",
        ),
    )
}

BASELINE_NOISE = replace(BASELINE, noise=10.0)  # as large as the published universal perturbations
BASELINE_ADVERSARIAL = replace(BASELINE, finetune="adversarial")

DEFENCES: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="baseline+noise",
            method=BASELINE_NOISE,
            summary="DeepLabv3 on images with Gaussian noise",
        ),
        Experiment(
            name="baseline+adversarial",
            method=BASELINE_ADVERSARIAL,
            summary="DeepLabv3, fine-tuned on images attacked by PGD-3",
        ),
    )
}
