"""`vitreous benchmark`: models x data sets x methods x metrics, a leader board, and results that others can check."""

import io
import math
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import SOME_FAILED, print_json, tell, told_errors
from vitreous.apps.cli.evaluate import ENDINGS

if TYPE_CHECKING:
    from vitreous.bench.benchmark import Outcome
    from vitreous.bench.leader_board import LeaderBoard
    from vitreous.bench.verify import Checked

BOARD = "leader-board"
MOST_TOLD = 20  # differences of one pair


def run(
    config: Annotated[
        Path | None,
        typer.Argument(help="CONFIG.yaml; or the folder of a benchmark, whose board is made anew.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results, if the configuration names none.")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option("--pack", help="Write the results into one file that others can check.")
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify", help="Check such a file, or folder. CONFIG then says where your own models and data are."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="With --verify: samples of each pair to run again, at least.")
    ] = 20,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --verify: of the draw of samples; a new one if left out.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Run a benchmark, or check the results of one.

    Every model is evaluated on every data set, in a folder of its own below --out; the same command goes on after an
    interruption. What fails is reported and stops nothing else. The leader board is written as HTML, Markdown and
    LaTeX. Status 1: a pair or a row failed; with --verify: something differs or could not be checked.

    vitreous benchmark scenes.yaml --out results --pack results.zip

    vitreous benchmark --verify results.zip --sample 20
    """
    with told_errors(debug):
        if verify is not None:
            if pack is not None or out is not None:
                raise typer.BadParameter("--pack and --out make results, --verify checks them", param_hint="--verify")
            _verify(verify, config, sample, seed, as_json)
            return
        if config is None:
            raise typer.BadParameter("name a configuration, or --verify a file", param_hint="CONFIG")
        if seed is not None:
            raise typer.BadParameter("the seed of a run is in its configuration", param_hint="--seed")
        folder, outcomes, board = _board(config, out)
        _deliver(folder, outcomes, board, as_json)
        if pack is not None:
            from vitreous.bench.submission import pack as write_submission  # noqa: PLC0415

            tell(f"Packed into {write_submission(folder, pack, overwrite)}")
        if any(each.evaluation is None or any(r.status == "failed" for r in each.evaluation.rows) for each in outcomes):
            raise typer.Exit(SOME_FAILED)


def _board(config: Path, out: Path | None) -> "tuple[Path, list[Outcome], LeaderBoard]":
    """Run what is asked for, or read it from its folder, and make the board."""
    from vitreous.bench.benchmark import load_benchmark, run_benchmark  # noqa: PLC0415
    from vitreous.bench.config import read_config  # noqa: PLC0415
    from vitreous.bench.leader_board import leader_board  # noqa: PLC0415

    if config.is_dir():
        if out is not None:
            raise typer.BadParameter("a folder of results is given already", param_hint="--out")
        asked, outcomes = load_benchmark(config)
        return config, outcomes, leader_board(asked.name, outcomes)
    asked = read_config(config)
    folder = out or (Path(asked.out) if asked.out else None)
    if folder is None:
        raise typer.BadParameter("the configuration has no 'out': say where results go", param_hint="--out")
    with _progress("Evaluating") as advance:
        outcomes = run_benchmark(asked, folder, advance)
    return folder, outcomes, leader_board(asked.name, outcomes)


def _deliver(folder: Path, outcomes: "Sequence[Outcome]", board: "LeaderBoard", as_json: bool) -> None:
    """Write the board and each pair's own table in every form; print the board."""
    from vitreous.bench._board import BOARD_FORMATS, board_html, board_markdown  # noqa: PLC0415
    from vitreous.bench.table import FORMATS  # noqa: PLC0415
    from vitreous.core.heatmap_file import write_whole  # noqa: PLC0415

    for each in outcomes:
        if each.evaluation is None:
            tell(f"Failed: {each.name}. {each.problem}")
            continue
        table = each.evaluation.table()
        for name, ending in ENDINGS.items():
            write_whole(folder / each.name / f"table.{ending}", FORMATS[name](table).encode(), overwrite=True)
    for ending, write in BOARD_FORMATS.items():
        text = board_html(board, _pictures(board)) if ending == "html" else write(board)
        write_whole(folder / f"{BOARD}.{ending}", text.encode(), overwrite=True)
    tell(f"Written to {folder}: {BOARD}.{', .'.join(BOARD_FORMATS)}, and each pair's own tables")
    if as_json:
        standing = [{"method": name, "rank": None if math.isnan(rank) else rank} for name, rank in board.overall]
        print_json(
            {"name": board.name, "pairs": list(board.pairs), "overall": standing, "failed": dict(board.problems)}
        )
    else:
        typer.echo(board_markdown(board))


def _pictures(board: "LeaderBoard") -> dict[tuple[str, str], bytes]:
    """Draw the critical differences of every pair and metric that has ranks, as SVG."""
    from matplotlib import rc_context  # noqa: PLC0415

    from vitreous.show.critical_difference import draw_critical_difference  # noqa: PLC0415

    found = {}
    for (pair, metric), section in board.sections.items():
        if len(section.ranking.ranks) > 1 and not any(map(math.isnan, section.ranking.ranks)):
            content = io.BytesIO()
            with rc_context({"svg.hashsalt": "vitreous"}):  # otherwise each run gives other names to its shapes
                figure = draw_critical_difference(section.ranking, metric, board.control)
                figure.savefig(content, format="svg", metadata={"Date": None})
            found[pair, metric] = content.getvalue()
    return found


def _verify(path: Path, own: Path | None, sample: int, seed: int | None, as_json: bool) -> None:
    """Check a submission, tell what was found, and end with status 1 if anything is not as it says."""
    from vitreous.bench.config import read_config  # noqa: PLC0415
    from vitreous.bench.submission import open_submission  # noqa: PLC0415
    from vitreous.bench.verify import TOLERANCE, verify  # noqa: PLC0415

    drawn = secrets.randbits(32) if seed is None else seed  # nobody can know beforehand what will be run again
    submission = open_submission(path)
    with _progress("Checking") as advance:
        found = verify(submission, sample, drawn, None if own is None else read_config(own), advance=advance)
    for each in found:
        if as_json:
            print_json({**vars(each), "good": each.good, "seed": drawn, "tolerance": TOLERANCE})
        else:
            typer.echo("\n".join(_told(each)))
    if not as_json:
        typer.echo(f"Drawn with --seed {drawn}; tolerance {TOLERANCE:g} of the largest value of a metric.")
    if not all(each.good for each in found):
        raise typer.Exit(SOME_FAILED)


def _told(found: "Checked") -> Iterator[str]:
    """Say what checking one pair found."""
    if found.refused:
        yield f"{found.pair}: NOT CHECKED. {found.refused}"
        return
    verdict = "AGREES" if found.good else "DIFFERS"
    yield (
        f"{found.pair}: {verdict}. {found.agree} of {found.compared} rows that were run again agree, values to "
        f"{found.largest:.2g}; {found.rows} rows were read, {len(found.wrong)} contradict themselves."
    )
    for kind, lines in (("wrong", found.wrong), ("differs", found.differs), ("not the same", found.notes)):
        yield from (f"  {kind}: {line}" for line in lines[:MOST_TOLD])
        if len(lines) > MOST_TOLD:
            yield f"  {kind}: and {len(lines) - MOST_TOLD} more"


@contextmanager
def _progress(doing: str) -> "Iterator[Callable[[str, int, int], None]]":
    """Show progress and time left on standard error: a bar for a person, a line for each pair in a log."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def log(pair: str, done: int, total: int) -> None:
            if pair not in seen:
                seen.add(pair)
                tell(f"{doing} {pair}: sample {done} of {total}")

        yield log
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda pair, done, total: bar.update(task, description=f"{doing} {pair}", completed=done, total=total)
