"""Commands on the paper as a whole: its tables, figures and claims, and how fast this project is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmix_core.cli.arguments import (
    DATASETS,
    OUT_OF_CONTEXT,
    Answer,
    command,
    device_option,
    integers,
    names,
    request_of,
    results_option,
    seconds,
    training_options,
)
from segmix_core.cli.progress import ProgressLine
from segmix_core.errors import InputError

if TYPE_CHECKING:
    from segmix_core.request import Request


def add_to(commands: Any) -> None:
    """The commands of this module, with their options."""
    experiments = command(
        commands,
        "experiments",
        _experiments,
        "the paper's tables and figures as declared, and what was measured",
    )
    experiments.add_argument("--table", type=int, help="1 to 11; every table and figure by default")
    results_option(experiments)

    run = command(commands, "run", _run, "run the missing rows of tables, most telling first")
    run.add_argument(
        "tables",
        nargs="+",
        metavar="TABLE",
        help="table1, figure5, tables, ...; robustness, or its parts universal (with table6), adaptive, "
        "corruptions, matrix",
    )
    training_options(run)
    run.add_argument("--seeds", type=integers, default=(0,), help="comma-separated (0)")
    run.add_argument("--budget", type=seconds, help="stop before this much time has passed, such as 25m")
    run.add_argument(
        "--methods",
        type=names,
        help="of the study of robustness, comma-separated, such as baseline; all by default",
    )
    run.add_argument(
        "--perturbations", type=Path, help="folder of the published ResNet-152.mat, GoogLeNet.mat"
    )
    run.add_argument("--out", type=Path, help="results file; data/results/<dataset>-<scale>.jsonl by default")

    report = command(commands, "report", _report, "printed beside measured")
    report.add_argument("table", help="table1, figure5, tables, robustness, ...")
    report.add_argument("--scale", help="rows of this scale alone")
    report.add_argument(
        "--dataset", choices=(*DATASETS, OUT_OF_CONTEXT), help="rows trained or measured on it"
    )
    report.add_argument("--format", choices=["json", "markdown"], default="markdown", help="(markdown)")
    results_option(report)

    claims = command(
        commands, "claims", _claims, "the paper's fifteen claims, and the verdicts that the rows allow"
    )
    results_option(claims)

    figure = command(commands, "figure", _figure, "draw a figure of the paper from runs in the cache")
    figure.add_argument("number", type=int, help="1 to 7")
    training_options(figure)
    figure.add_argument(
        "--seeds",
        type=integers,
        default=(0,),
        help="comma-separated; figures but the fifth take the first (0)",
    )
    figure.add_argument("--out", type=Path, required=True, help="a .png, .svg or .pdf file")
    figure.add_argument("--perturbations", type=Path, help="Fig. 6: folder of the published perturbations")
    figure.add_argument("--pictures", type=Path, help="Fig. 4: a folder of images without labels")

    bench = command(commands, "bench", _bench, "speed and memory against named peers, as ratios of one run")
    bench.add_argument("name", nargs="?", help="all by default (an unknown name lists them)")
    device_option(bench)


def _experiments(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import FIGURES
    from segmix_core.report import collapsed, experiments_table, report_rows

    where = _results_of(options)
    rows = experiments_table(options.table, where)
    figures: list[dict[str, Any]] = [
        {
            "figure": number,
            "shows": it.shows,
            "rows": report_rows(f"figure{number}", where=where) if it.rows else [],
        }
        for number, it in FIGURES.items()
        if options.table is None
    ]
    lines = [_columns("where", "column", "row", "printed", "experiment") + "measured (seeds)"]
    for row in collapsed(rows + [row for it in figures for row in it["rows"]]):
        printed = "-" if row["printed"] is None else row["printed"]
        found = [_briefly(entry) for entries in row["measured"].values() for entry in entries.values()]
        place = f"figure {row['figure']}" if "figure" in row else f"table {row['table']}"
        cells = _columns(place, row["column"], row["row"], printed, row["experiment"])
        lines.append(f"{cells}{', '.join(found)}".rstrip())
    lines += [f"figure {it['figure']} shows {it['shows']}: segmix figure {it['figure']}" for it in figures]
    return {"rows": rows, "figures": figures}, "\n".join(lines)


def _columns(place: str, column: str, row: str, printed: object, experiment: str) -> str:
    return f"{place:<9}{column:<32}{row:<58}{printed!s:<12}{experiment:<38}"


def _briefly(entry: dict[str, Any]) -> str:
    """What was measured, where, and the number of seeds."""
    digits = 2 if "IoU" in entry["metric"] else 4
    return f"{entry['dataset']} {entry['scale']} {entry['value']:.{digits}f} ({len(entry['seeds'])})"


def _run(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import nearest, row_groups
    from segmix_core.experiments.robustness import PARTS, STUDIED, find_parts, is_study
    from segmix_core.robustness.study import check_study, run_study
    from segmix_core.run import Ran, run_tables

    began = time.monotonic()
    groups = row_groups()
    tables = [name for name in options.tables if groups.get(name) or not is_study(name)]
    parts = [part for name in options.tables if is_study(name) for part in find_parts(name)]
    if {"tables", "figures"} & set(options.tables):
        parts.append("universal")  # Table 6 and Fig. 6
    known = (*groups, "robustness", *PARTS)
    for name in options.tables:
        if name not in known:
            raise nearest("table, figure or part", name, sorted(known))

    def request_for(experiment: str, seed: int) -> Request:
        return request_of(options, experiment, seed)

    if options.eval_split == "none":
        raise InputError(
            "--eval-split none",
            "leaves a table nothing to measure",
            "leave it out, or use 'segmix train'",
        )
    studied = {
        "experiments": options.methods or tuple(STUDIED),
        "seeds": options.seeds,
        "perturbations": options.perturbations,
    }
    if parts:
        check_study(parts, **studied)
    elif options.methods or options.perturbations:
        raise InputError(
            "run", "--methods or --perturbations without robustness", "name a part, such as table6"
        )
    ran = Ran()
    if tables:
        ran = run_tables(
            tables,
            request_for,
            budget=options.budget,
            progress=ProgressLine("data", "images"),
            reporter=lambda what: ProgressLine(what, "steps"),
            seeds=options.seeds,
            results_file=options.out,
        )
    if parts:
        spent = time.monotonic() - began
        more = run_study(
            list(dict.fromkeys(parts)),
            request_for,
            budget=None if options.budget is None else max(0.0, options.budget - spent),
            results_file=options.out,
            reporter=ProgressLine,
            **studied,
        )
        ran.done += more.done
        ran.held += more.held
        ran.left += more.left
    document = dataclasses.asdict(ran)
    shown = {what: names for what, names in document.items() if names or what in ("done", "left")}
    lines = [f"{what}: {', '.join(names) or 'none'}" for what, names in shown.items()]
    if ran.held:
        lines.append("What is held has its rows already; another --out measures it anew.")
    return document, "\n".join(lines)


def _results_of(options: argparse.Namespace) -> Path:
    """Where the rows are that a report is about."""
    from segmix_core import results

    where: Path | None = options.results
    if where is not None and not where.exists():
        raise InputError(where, "no such results file or folder", "name what 'segmix run --out' has written")
    if where is not None and where.is_dir() and not any(where.glob("*.jsonl")):
        raise InputError(
            where, "holds no .jsonl file that can be read", "name what 'segmix run --out' has written"
        )
    return where or results.RESULTS


def _report(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.experiments import find_scale, nearest, row_groups
    from segmix_core.experiments.robustness import PARTS, find_parts
    from segmix_core.report import as_markdown, report_rows
    from segmix_core.report.robustness_tables import report_parts

    scale = None if options.scale is None else find_scale(options.scale).name
    where = _results_of(options)
    if options.table in (*PARTS, "robustness"):
        parts = find_parts(options.table)
        document, text = report_parts(parts, results.read_all(where), scale=scale, dataset=options.dataset)
        return document, json.dumps(document) if options.format == "json" else text
    groups = row_groups()
    if options.table not in groups:
        raise nearest("table, figure or part", options.table, (*sorted(groups), "robustness", *PARTS))
    document = {"rows": report_rows(options.table, scale=scale, dataset=options.dataset, where=where)}
    text = as_markdown(document["rows"])
    if any(row.get("table") == 6 for row in document["rows"]):
        found, said = report_parts(
            ["universal"], results.read_all(where), scale=scale, dataset=options.dataset
        )
        document |= found
        text += f"\n\n{said}"
    return document, json.dumps(document) if options.format == "json" else text


def _claims(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.verdicts import judge_claims

    judged = judge_claims(results.read_all(_results_of(options)))
    document = [
        {
            "claim": one.claim.number,
            "text": one.claim.text,
            "read_off": one.claim.read_off,
            "where": one.claim.where,
            "setting": one.setting,
            "verdict": one.verdict,
            "verdict_with_tables": one.with_tables,
            "without_rows": one.without_rows,
            "contrasts": [
                {
                    "what": finding.contrast.what,
                    "said": finding.contrast.said,
                    "printed": finding.printed,
                    "mean": finding.mean,
                    "half_width_95": finding.half_width_95,
                    "images_95": None if finding.over_images == "not known" else finding.images,
                    "fewest_images": finding.fewest,
                    "seeds": finding.seeds,
                    "holds": finding.holds,
                    "unmet": list(finding.unmet),
                }
                for finding in one.findings
            ],
        }
        for one in judged
    ]
    wide = max(len(one.in_words) for one in judged)
    broad = max(len(one.setting) for one in judged)
    lines = [
        f"{one.claim.number:>2}  {one.in_words:<{wide}}  {one.setting or '-':<{broad}}  {one.claim.text}"
        for one in judged
    ]
    return {"claims": document}, "\n".join(lines)


def _figure(options: argparse.Namespace) -> Answer:
    import matplotlib as mpl

    from segmix_core.experiments import FIGURES
    from segmix_core.paper_figures import draw_to

    mpl.use("agg")
    drawn = draw_to(
        options.out,
        options.number,
        lambda name, seed: request_of(options, name, seed),
        options.seeds,
        pictures=options.pictures,
        perturbations=options.perturbations,
        reporter=lambda what: ProgressLine(what, "steps"),
    )
    shows = FIGURES[options.number].shows
    document = {"figure": str(options.out), "shows": shows, "images": drawn.rule}
    return document, f"{options.out}: {shows}; {drawn.rule}"


def _bench(options: argparse.Namespace) -> Answer:
    from segmix_core.bench import run_benchmarks

    rows = [dataclasses.asdict(row) for row in run_benchmarks(options.name, device=options.device)]
    lines = [
        f"{row['name']:<24}{row['variant']:<34}{row['median']:>12.4g} {row['unit']:<8}{row['ratio']:>8.2f}x"
        for row in rows
    ]
    return rows, "\n".join(lines)
