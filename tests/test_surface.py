"""The public surface: names that scripts use. What is added is written down here; a rename fails."""

import argparse
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

from segmix_core.cli.command import parser
from segmix_core.data.check import CHECKED
from segmix_core.experiments import METHODS, find_experiment

SIGNATURES = """
segmix_core.records.Batch(image_BCHW, label_BHW, presence_BN=None)
segmix_core.records.MixedBatch(image_BCHW, dominant_BHW, phantom_BHW, delta_B, partner_B)
segmix_core.records.Separation(dominant, phantom=None, final=None)
segmix_core.cooccurrence.presence(label_maps, num_categories, *, ignore_index=255, least_share=0.0)
segmix_core.cooccurrence.cooccurrence_matrix(presence)
segmix_core.mixing.cooccurrence_partners(presence_BN, cooccurrence_NN, *, rng, count='sum', average=False)
segmix_core.mixing.sample_delta(alpha, size, *, rng, fold=True)
segmix_core.mixing.cap_delta(delta_B, total_B, *, gamma=3, capped=0.9, literal=False)
segmix_core.mixing.blend(batch, partner_B, delta_B, *, out=None)
segmix_core.models.SourceSeparation(num_categories, *, backbone='resnet50', head='full', output_stride=16, \
shared_aspp=False, pretrained=None, aspp_channels=256, aspp_rates=None)
segmix_core.models.SourceSeparation.forward(self, image_BCHW)
segmix_core.models.load_model(checkpoint_path)
segmix_core.losses.stage1_loss(separation, mixed)
segmix_core.losses.stage2_loss(separation, label_BHW, *, ppa='log1p')
segmix_core.evaluation.ConfusionMatrix(num_categories, *, ignore_index=255)
segmix_core.evaluation.ConfusionMatrix.update(self, prediction, label)
segmix_core.evaluation.ConfusionMatrix.iou(self)
segmix_core.evaluation.ConfusionMatrix.miou(self, categories=None)
segmix_core.evaluation.ConfusionMatrix.aacc(self)
segmix_core.attacks.load_perturbation(path, *, scale=None)
segmix_core.attacks.apply_perturbation(image_BCHW, v, *, mode='resize')
"""

EVERYWHERE = "-h --help --json --debug"
TRAINING = (
    "--scale --dataset --root --split --eval-split --eval-root --pseudo --mask-threshold --device --backbone "
    "--pretrained --categories --precision=fp32,bf16 --workers"
)
MEASURED_ON = "silhouettes,silhouettes-saliency,voc2012,coco,duts,ecssd,silhouettes-outofcontext"
COMMANDS = {
    "stats": "--dataset --root --split --write",
    "data make": "name=silhouettes --kind=scenes,saliency,outofcontext --out --images --val --size --seed",
    "data fetch": "name --root --mirror",
    "data augment": "--root --sbd",
    "data halve": "--root --split --out",
    "data check": "--dataset --root --mask-threshold --perturbation-scale=pixel,unit",
    "subsets": "--dataset --root --split --train-split --out",
    "pretrain": "--scale --dataset --root --split --out --images --epochs --backbone --seed --device",
    "train": f"experiment {TRAINING} --seed --out --start --resume --results",
    "evaluate": "checkpoint --dataset --root --split --mask-threshold --protocol=crop,full --crop --device "
    "--categories --perturbation --perturbation-scale=pixel,unit --epsilon --fit=resize,tile,center_pad",
    "attack": "checkpoint --attack --epsilon --output=dominant,final,joint,phantom --dataset --root --split "
    "--craft-split --images --steps --crop --categories --seed --device --out",
    "predict": "checkpoint images --out --device",
    "submit": "checkpoint --root --split --out --device",
    "experiments": "--table --results",
    "run": f"tables {TRAINING} --seeds --budget --methods --perturbations --out",
    "report": f"table --scale --dataset={MEASURED_ON} --format=json,markdown --results",
    "claims": "--results",
    "figure": f"number {TRAINING} --seeds --out --perturbations --pictures",
    "bench": "name --device",
}


@pytest.mark.parametrize("written", SIGNATURES.split("\n")[1:-1], ids=lambda line: line.partition("(")[0])
def test_a_public_name_takes_what_it_took(written: str) -> None:
    name = written.partition("(")[0]
    package, room, below = name.split(".", 2)  # `mixing.blend` is a module too
    signature = inspect.signature(pkgutil.resolve_name(f"{package}.{room}:{below}"))
    bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    assert f"{name}{signature.replace(parameters=bare, return_annotation=signature.empty)}" == written


def commands(of: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, of
    for group in groups:
        for one, below in group.choices.items():
            yield from commands(below, f"{name} {one}".strip())


def given(to: argparse.ArgumentParser) -> tuple[list[str], set[str]]:
    """Positional arguments in their order, and options; with what may be chosen."""
    positional, options = [], set()
    for action in to._actions:
        chosen = "=" + ",".join(action.choices) if action.choices else ""
        options |= {f"{option}{chosen}" for option in action.option_strings}
        if not action.option_strings:
            positional.append(f"{action.dest}{chosen}")
    return positional, options


def test_the_commands_are_those_written_here() -> None:
    assert [name for name, _ in commands(parser())] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_it_took(name: str) -> None:
    words = f"{COMMANDS[name]} {EVERYWHERE}".split()
    options = {word for word in words if word.startswith("-")}
    assert given(dict(commands(parser()))[name]) == ([word for word in words if word not in options], options)


def test_experiments_and_data_sets_keep_their_names() -> None:
    assert list(METHODS) == ["baseline", "mixup", "cutmix", "sourcesep-cc", "sourcesep-cm"]
    assert find_experiment("table10/mixup+cooccurrence").name == "table10/mixup+cooccurrence"
    assert {"silhouettes", "voc2012", "coco", "duts", "ecssd", "outofcontext", "unrel"} <= set(CHECKED)
