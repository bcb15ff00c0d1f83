"""`lapwing export --variants`: less exact policies beside the exact one, each only if it drives as well."""

from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.table import Table

from agent.checkpoint import PolicyFacts, load_actor
from agent.export.export import ExportConfig, Variant
from agent.export.parity import Compared, Errors, Measured, answers, compared, infer_us, measured, moments
from agent.export.precision import less_exact
from agent.results.evaluate import cell, make_road
from deploy.policy import OnnxPolicy
from perception.files import write_whole

CALIBRATION = 500  # frames of held-in roads, by which the ranges of 8 bits are set
SUFFIXES: dict[Variant, str] = {"int8": ".int8.onnx", "float16": ".fp16.onnx"}
LINES = (
    "",
    "size, kB",
    "inference, µs",
    "ratio",
    "steering error",
    "speed error",
    "novelty error",
    "value error, m",
    "disengagements",
    "m/disengagement",
    "mean km/h",
    "outcome",
)


class Report(msgspec.Struct, frozen=True):
    """What a policy and its variants came to; written as JSON."""

    lapwing: str
    onnxruntime: str
    run: str
    frames: int  # of held-out roads, on which answers were compared
    roads: int  # held-out ones that each drove
    road_length_m: float
    original: Measured
    variants: list[Compared]


def export_variants(config: ExportConfig, console: Console) -> bool:
    """Write what `config.variants` asks for beside the policy that `export` wrote, with a report of all of them.

    True if none was refused. One that is refused is not there afterwards, nor is an earlier one of that name.
    """
    _, facts = load_actor(config.run / "actor.safetensors")
    with TemporaryDirectory(prefix="lapwing-") as folder, console.status("the variants drive"):
        paths = make(config, facts, Path(folder))
        report = compare(config, facts, [config.out, *paths])
        for found, path in zip(report.variants, paths, strict=True):
            place(found, path, config.out.with_suffix(SUFFIXES[found.precision]), console)
    console.print(table(report))
    write_whole(config.out.with_suffix(".parity.json"), msgspec.json.format(msgspec.json.encode(report)))
    write_whole(config.out.with_suffix(".parity.md"), markdown(report).encode())
    return not any(found.refused for found in report.variants)


def make(config: ExportConfig, facts: PolicyFacts, folder: Path) -> list[Path]:
    """The variants, in that folder."""
    original, graph = OnnxPolicy.load(config.out), config.out.read_bytes()
    calibration = moments(facts, original, "held_in", CALIBRATION, config.seed)
    paths = [folder / name for name in config.variants]
    for name, path in zip(config.variants, paths, strict=True):
        path.write_bytes(less_exact(graph, name, original.id, calibration))
    return paths


def compare(config: ExportConfig, facts: PolicyFacts, paths: Sequence[Path]) -> Report:
    """Hold the others against the first."""
    policies = [OnnxPolicy.load(path) for path in paths]
    given = moments(facts, policies[0], "held_out", config.parity_frames, config.seed + 1)
    times = infer_us(policies, given)
    with closing(make_road(facts, facts.road_seed)) as road:
        roads = road.get_wrapper_attr("held_out")[: config.held_out]
    sizes = [path.stat().st_size for path in paths]
    alone = [measured(facts, *each, roads) for each in zip(policies, sizes, times, strict=True)]
    told = [answers(policy, given) for policy in policies]
    variants = [
        compared(name, one, alone[0], found, told[0])
        for name, one, found in zip(config.variants, alone[1:], told[1:], strict=True)
    ]
    return Report(
        lapwing=version("lapwing"),
        onnxruntime=version("onnxruntime"),
        run=facts.run,
        frames=config.parity_frames,
        roads=len(roads),
        road_length_m=facts.length_m,
        original=alone[0],
        variants=variants,
    )


def place(found: Compared, made: Path, out: Path, console: Console) -> None:
    """Write a variant, or say in one line why not."""
    if found.refused:
        out.unlink(missing_ok=True)
        console.print(f"[red]refused[/] {out}: {'; '.join(found.refused)}", soft_wrap=True)
        return
    write_whole(out, made.read_bytes())
    console.print(f"wrote {out}", soft_wrap=True)


def columns(report: Report) -> list[tuple[str, ...]]:
    """The cells of the table, the original first, each in the order of LINES."""
    exact = _column("float32", report.original, "1", ["–"] * 4, "original")
    return [exact, *(_compared(found) for found in report.variants)]


def _compared(found: Compared) -> tuple[str, ...]:
    told = [_off(errors) for errors in (found.steering, found.speed, found.novelty, found.value)]
    outcome = "refused" if found.refused else "written"
    return _column(found.precision, found.measured, f"{found.time_ratio:.2f}", told, outcome)


def _column(name: str, one: Measured, ratio: str, told: Sequence[str], outcome: str) -> tuple[str, ...]:
    drove = one.drove
    apart = f"none in {drove.distance_m:.0f}" if not drove.disengagements else cell(drove.meters_per_disengagement)
    driving = str(drove.disengagements), apart, f"{3.6 * drove.mean_speed_mps:.1f}"
    return name, f"{one.kilobytes:.0f}", f"{one.infer_p50_us:.0f}", ratio, *told, *driving, outcome


def _off(errors: Errors | None) -> str:
    return "–" if errors is None else "/".join(f"{x:.4f}" for x in msgspec.structs.astuple(errors))


def table(report: Report) -> Table:
    """For a terminal."""
    made = Table(title=f"Policy {report.original.id} of run {report.run}", caption=caption(report))
    heads, *lines = zip(LINES, *columns(report), strict=True)
    for heading in heads:
        made.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for line in lines:
        made.add_row(*line)
    return made


def caption(report: Report) -> str:
    """What the figures are of."""
    return (
        f"errors: mean/p99/largest, of {report.frames} frames of held-out roads; "
        f"driving: {report.roads} held-out roads of {report.road_length_m:.0f} m; time of inference: median"
    )


def markdown(report: Report) -> str:
    """For a page, with the reasons for refusals."""
    heads, *lines = zip(LINES, *columns(report), strict=True)
    made = [f"# Policy {report.original.id} of run {report.run}", ""]
    made += [f"| {' | '.join(line)} |" for line in (heads, ["---", *["--:"] * (len(heads) - 1)], *lines)]
    reasons = [f"- {found.precision} refused: {'; '.join(found.refused)}" for found in report.variants if found.refused]
    return "\n".join([*made, "", f"{caption(report)[0].upper()}{caption(report)[1:]}.", "", *reasons]).rstrip() + "\n"
