"""Where each data set is published: addresses, checksums with who published them, and how large it may get.

A checksum is given with the project that published it. Where none is known there is none, and the SHA-256
of the first fetch is recorded instead (`segmix_core.data.download`).
"""

from dataclasses import dataclass

MAX_FACTOR = 100  # an archive may unpack to so many times its own size; a bomb does to a thousand
MAX_FILES = 500_000  # in one archive; the largest here, COCO's train2017, has 118,287

_MB = 10**6
_TORCHVISION = "torchvision, torchvision/datasets"
_PADDLE = "PaddlePaddle/PaddleDetection, ppdet/utils/download.py"
_MLPERF = "mlcommons/training, object_detection/hashes.md5"
_COCOTOOLS = "twsl/pytorchcocotools, src/pytorchcocotools/utils/coco/files.py"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One published file: .zip, .tar, .tgz and .tar.gz are unpacked, any other is kept as it is."""

    url: str
    about: int  # bytes of the file, roughly: for the progress shown, never for a decision
    max_bytes: int  # of all it holds once unpacked; more is refused
    md5: str | None = None
    md5_from: str | None = None  # who published it

    @property
    def file(self) -> str:
        """The file name: the last part of the address, without a query."""
        return self.url.partition("?")[0].rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as it is published."""

    home: str
    archives: tuple[Archive, ...]
    needs_account: bool = False  # then it is taken from a mirror alone


_COCO = "http://images.cocodataset.org"  # without TLS: its certificate is for another name
_DUTS = "http://saliencydetection.net/duts"
_ECSSD = "https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency"
_UAP = "https://raw.githubusercontent.com/LTS4/universal/8cd8ed993f3b9dd4e11c9442f079376aeaf35bd6/precomputed"

CATALOG: dict[str, Source] = {
    "voc2012": Source(
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        archives=(
            Archive(
                url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                about=2_000 * _MB,
                max_bytes=4_000 * _MB,
                md5="6cd6e144f989b92b3379bac3b3de84fd",
                md5_from=f"{_TORCHVISION}/voc.py",
            ),
        ),
    ),
    "voc2012-test": Source(
        home="http://host.robots.ox.ac.uk:8080/",
        archives=(
            Archive(
                url="http://host.robots.ox.ac.uk:8080/eval/downloads/VOC2012test.tar",
                about=1_850 * _MB,
                max_bytes=4_000 * _MB,
                md5="9065beb292b6c291fad82b2725749fda",
                md5_from="plstcharles/thelper, thelper/data/pascalvoc.py",
            ),
        ),
        needs_account=True,
    ),
    "sbd": Source(
        home="http://home.bharathh.info/pubs/codes/SBD/download.html",
        archives=(
            Archive(
                url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
                "semantic_contours/benchmark.tgz",
                about=1_420 * _MB,
                max_bytes=12_000 * _MB,
                md5="82b4d87ceb2ed10f6038a1cba92111cb",
                md5_from=f"{_TORCHVISION}/sbd.py",
            ),
        ),
    ),
    "coco2014": Source(
        home="https://cocodataset.org/#download",
        archives=(
            Archive(
                url=f"{_COCO}/zips/train2014.zip",
                about=13_511 * _MB,
                max_bytes=20_000 * _MB,
                md5="0da8c0bd3d6becc4dcb32757491aca88",
                md5_from=_MLPERF,
            ),
            Archive(
                url=f"{_COCO}/zips/val2014.zip",
                about=6_645 * _MB,
                max_bytes=10_000 * _MB,
                md5="a3d79f5ed8d289b7a7554ce06a5782b3",
                md5_from=_MLPERF,
            ),
            Archive(
                url=f"{_COCO}/annotations/annotations_trainval2014.zip",
                about=253 * _MB,
                max_bytes=3_000 * _MB,
                md5="0a379cfc70b0e71301e0f377548639bd",
                md5_from=_COCOTOOLS,
            ),
            # The halves of val2014: minival2014 is measured on, valminusminival2014 is trained on.
            Archive(
                url="https://dl.fbaipublicfiles.com/detectron/coco/coco_annotations_minival.tgz",
                about=74 * _MB,
                max_bytes=1_000 * _MB,
                md5="2d2b9d2283adb5e3b8d25eec88e65064",
                md5_from=_MLPERF,
            ),
        ),
    ),
    "coco2017": Source(
        home="https://cocodataset.org/#download",
        archives=(
            Archive(
                url=f"{_COCO}/zips/train2017.zip",
                about=19_337 * _MB,
                max_bytes=30_000 * _MB,
                md5="cced6f7f71b7629ddf16f17bbcfab6b2",
                md5_from=_PADDLE,
            ),
            Archive(
                url=f"{_COCO}/zips/val2017.zip",
                about=816 * _MB,
                max_bytes=2_000 * _MB,
                md5="442b8da7639aecaf257c1dceb8ba8c80",
                md5_from=_PADDLE,
            ),
            Archive(
                url=f"{_COCO}/annotations/annotations_trainval2017.zip",
                about=253 * _MB,
                max_bytes=3_000 * _MB,
                md5="f4bbac642086de4f52a3fdda2de5fa2c",
                md5_from=_PADDLE,
            ),
        ),
    ),
    "duts": Source(
        home=f"{_DUTS}/",
        archives=(
            Archive(url=f"{_DUTS}/download/DUTS-TR.zip", about=270 * _MB, max_bytes=2_000 * _MB),
            Archive(url=f"{_DUTS}/download/DUTS-TE.zip", about=140 * _MB, max_bytes=2_000 * _MB),
        ),
    ),
    "ecssd": Source(
        home=f"{_ECSSD}/dataset.html",
        archives=(
            Archive(url=f"{_ECSSD}/data/ECSSD/images.zip", about=68 * _MB, max_bytes=500 * _MB),
            Archive(url=f"{_ECSSD}/data/ECSSD/ground_truth_mask.zip", about=2 * _MB, max_bytes=200 * _MB),
        ),
    ),
    # The images come inside the authors' code. The home page names the archive (26 MB); that it lies beside
    # the page is not certain. If it does not: take it from the home page and give --mirror file:///FOLDER.
    "outofcontext": Source(
        home="http://people.csail.mit.edu/myungjin/outOfContext.html",
        archives=(
            Archive(
                url="http://people.csail.mit.edu/myungjin/supportContext.tar.gz",
                about=26 * _MB,
                max_bytes=1_000 * _MB,
            ),
        ),
    ),
    "unrel": Source(
        home="https://www.di.ens.fr/willow/research/unrel",
        archives=(
            Archive(
                url="http://www.di.ens.fr/willow/research/unrel/data/unrel-dataset.tar.gz",
                about=220 * _MB,
                max_bytes=2_000 * _MB,
            ),
        ),
    ),
    # The address names a commit, so that what it holds cannot change.
    "uap": Source(
        home="https://github.com/LTS4/universal",
        archives=tuple(
            Archive(url=f"{_UAP}/{network}.mat", about=_MB // 2, max_bytes=4 * _MB)
            for network in ("CaffeNet", "GoogLeNet", "ResNet-152", "VGG-16", "VGG-19", "VGG-F")
        ),
    ),
    "gd-uap": Source(
        home="https://github.com/val-iisc/GD-UAP",
        archives=(
            Archive(  # dl=1 asks for the file, not for a page about it
                url="https://www.dropbox.com/s/ixjzg4itx10nhid/perturbations.tar.gz?dl=1",
                about=50 * _MB,
                max_bytes=500 * _MB,
            ),
        ),
    ),
}
