"""Commands that score without the service: files (`baton score`) and streams (`baton stream`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, AsOf, Home, Json, Project, moment

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.serving.predictor import Predictor
    from baton.serving.serving_settings import ServingSettings
    from baton.serving.stream_scoring import StreamCounts
    from baton.serving.stream_settings import StreamSettings

scoring = typer.Typer()
# Batches are cut far smaller than this; a file waits for nobody's warm-up.
WARMED_ROWS = 64


@scoring.command()
def score(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Parquet or CSV file of feature rows.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Parquet file of answers.")],
    project: Project = HERE,
    home: Home = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Folder of a bundle, wherever it is; needs no project.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version; the champion where left out.")] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that names a row; the project's, else the row's number.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Column that the output repeats; the project's entities.")
    ] = None,
    most_rejected: Annotated[
        float, typer.Option("--most-rejected", help="Largest share of bad rows, 0-1.", min=0, max=1)
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """Score a file with the champion; killed and started again, it goes on. Bad rows go to OUT.rejected.parquet."""
    from baton.core.errors import Misuse
    from baton.serving.batch_files import RowFile
    from baton.serving.batch_score import score_file

    if bundle is not None and version is not None:
        raise Misuse(what="two models are named", why="--bundle and --version exclude each other", fix="name one")
    file = RowFile(source)
    if bundle is not None:
        predictor = _opened(bundle)
    else:
        from baton.compose import platform

        baton = platform(project, home=home)
        predictor = _of_project(baton, version)
        named = baton.spec.prediction.id
        id_column = id_column or (named if named in file.types else None)
        keep = keep or [name for name in baton.spec.features.entities if name in file.types and name != id_column]
    with _bar(file.rows, quiet=as_json) as progress:
        result = score_file(
            source,
            target,
            predictor,
            id_column=id_column,
            kept=keep or (),
            most_rejected=most_rejected,
            progress=progress,
        )
    if as_json:
        output.machine(result)
        return
    again = f", {result.resumed:,} of them by an earlier run" if result.resumed else ""
    output.line(
        f"{target}: {result.scored:,} rows scored by {result.digest[:12]}{again}, {result.rejected:,} rejected,"
        f" {result.seconds:.1f} s"
    )


def _of_project(baton: Platform, version: str | None) -> Predictor:
    """Load the champion that is released, or a version that was judged."""
    from baton.core.errors import SourceMissing
    from baton.core.release import Release
    from baton.serving.predictor import load_predictor
    from baton.serving.release_file import read_release

    if version is None:
        release = read_release(baton.folder)
        if release is None:
            raise SourceMissing(
                what=f"{baton.spec.name} has no champion", why="none was promoted yet", fix="promote one or name one"
            )
    else:
        from baton.cli.ledger_commands import verdict_on

        entry = baton.ledger.find(baton.spec.name, version=version)
        digest = entry.digest if entry else verdict_on(baton, version).challenger
        release = Release(model=baton.spec.name, epoch=entry.epoch if entry else 0, version=version, champion=digest)
    return load_predictor(baton.folder, release, max_batch_rows=WARMED_ROWS)


def _opened(bundle: Path) -> Predictor:
    """Load a bundle by itself; its answers have no version, since versions are a registry's."""
    from baton.core.release import Release
    from baton.packaging.reader import open_contents
    from baton.serving.predictor import proven

    contents = open_contents(bundle)
    release = Release(model=contents.bundle.model, epoch=0, version="", champion=contents.bundle.digest)
    return proven(contents, release, max_batch_rows=WARMED_ROWS)


@contextmanager
def _bar(rows: int | None, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show how far it is, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not sys.stderr.isatty()) as progress:
        task = progress.add_task("scoring", total=rows)
        yield lambda done, _all: progress.update(task, completed=done)


@scoring.command()
def stream(
    project: Project = HERE,
    home: Home = None,
    url: Annotated[str | None, typer.Option("--url", help="Broker; BATON_STREAM_URL where left out.")] = None,
    source: Annotated[str | None, typer.Option("--in", help="Subject of rows; BATON_STREAM_SOURCE.")] = None,
    target: Annotated[str | None, typer.Option("--out", help="Subject of answers; BATON_STREAM_TARGET.")] = None,
    dead: Annotated[str | None, typer.Option("--dead", help="Subject of dead letters; IN.dead.")] = None,
    as_json: Json = False,
) -> None:
    """Answer the messages of NATS JetStream, Redis Streams or Kafka with the champion until interrupted."""
    import asyncio

    from baton.compose import platform
    from baton.serving.serving_settings import settings_from
    from baton.serving.stream_settings import stream_settings

    given = {"url": url, "source": source, "target": target, "dead": dead}
    settings = stream_settings({name: value for name, value in given.items() if value is not None})
    baton = platform(project, home=home)
    serving = settings_from({"folder": baton.folder, "model": baton.spec.name, **baton.spec.serving.limits})
    if not baton.release_file.exists() and not as_json:
        output.line("waiting for a first champion; run baton train")
        sys.stdout.flush()
    counts = asyncio.run(_streamed(settings, serving, quiet=as_json))
    if as_json:
        output.machine(counts)
        return
    output.line(
        f"{counts.answered:,} messages answered, {counts.duplicates:,} were before, {counts.dead:,} dead letters"
    )


async def _streamed(settings: StreamSettings, serving: ServingSettings, *, quiet: bool) -> StreamCounts:
    """Consume until a signal comes."""
    import asyncio
    import signal

    from baton.serving.stream_worker import consume

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def ready() -> None:
        if not quiet:
            output.line(f"answering {settings.source} on {settings.target}; Ctrl-C stops it")
            sys.stdout.flush()

    return await consume(settings, serving, stopped=stopped, ready=ready)


@scoring.command()
def materialize(project: Project = HERE, as_of: AsOf = None, home: Home = None) -> None:
    """Make the features known now those that requests for entities are answered with; run it after each ingest."""
    from baton.compose import platform
    from baton.features.snapshot import refresh

    baton, now = platform(project, home=home), moment(as_of)
    refresh(baton.spec, baton.landing, baton.definitions, baton.store, as_of=now)
    baton.store.materialize(as_of=now)
    output.line(f"the online features of {baton.spec.name} are those of {now:%Y-%m-%d %H:%M} UTC")
