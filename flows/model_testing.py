"""The model tests of a challenger, made with the sealed models: what is tested is what would be served."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import digest_of
from baton.core.errors import SourceMissing
from baton.core.verdict import Outcome, checks_from
from baton.features.durable import write_json
from baton.flows.sealed_model import score
from baton.flows.sealing import training_rows
from baton.validation.budgets import budgets
from baton.validation.model_tests import GoldenAnswers, model_tests
from baton.validation.purity import RowPrints, Seen, read_prints, rows_seen

if TYPE_CHECKING:
    import pandas as pd

    from baton.compose import Platform
    from baton.core.spec import ModelSpec
    from baton.core.verdict import Check
    from baton.flows.trained import Trained
    from baton.packaging.reader import Contents


def learnt(platform: Platform, spec: ModelSpec, trained: Trained, rival: Contents | None) -> Mapping[str, Seen]:
    """Tell which rows of the holdout each model that is judged has learnt from."""
    models = {"challenger": trained.twin} | ({"champion": rival} if rival else {})
    known = {who: _prints(platform, model) for who, model in models.items()}
    return rows_seen(trained.holdout, spec.features.names, known)


def tests_of(
    platform: Platform,
    spec: ModelSpec,
    trained: Trained,
    *,
    seen: Mapping[str, Seen],
    rival: Contents | None,
    served: str | None,
) -> tuple[Check, ...]:
    """Make every declared model test of a challenger.

    Args:
        platform: The project.
        spec: Declares the tests.
        trained: The challenger; its twin answers, its refit is what serving would cost.
        seen: Which rows of the holdout every model that is judged has learnt from.
        rival: What it is judged against.
        served: Digest of the champion's bundle, for the budget.
    """
    from baton.training.metrics import measure

    purity, *checks = model_tests(
        spec,
        trained.holdout,
        partial(score, trained.twin),
        scores=trained.scores,
        measure=partial(measure, quantile=spec.gate.quantile),
        seen=seen,
        answers=_golden(spec, trained, rival) if rival else None,
    )
    if purity.outcome is Outcome.FAILED:
        # The gate counts the rows that were learnt from; this names some, and nothing else was tested.
        return (purity,)
    return (*checks, *_costs(platform, spec, trained, served=served))


def _costs(platform: Platform, spec: ModelSpec, trained: Trained, *, served: str | None) -> tuple[Check, ...]:
    """Measure what serving would cost, once for each pair of models: a run that is repeated gives the same verdict."""
    from baton.packaging.manifest import MODEL

    budget = spec.tests.budget
    name = digest_of([trained.bundle.digest, served, budget.model_dump(mode="json"), trained.evaluation.holdout])
    file = platform.folder / "costs" / f"{name}.json"
    if not file.is_file():
        champion = platform.bundles / served / MODEL if served else None
        measured = budgets(budget, trained.bundle.path / MODEL, champion, trained.holdout, load=_calls)
        write_json(file, {"checks": measured})
    return checks_from(json.loads(file.read_bytes())["checks"])


def _golden(spec: ModelSpec, trained: Trained, rival: Contents) -> GoldenAnswers:
    """Ask both models the champion's golden requests."""
    import pandas as pd

    rows = pd.DataFrame(list(rival.golden.rows), columns=list(spec.features.names))
    numbers = [name for name in spec.features.names if name not in spec.features.text]
    # JSON says null where a number is missing.
    rows = rows.astype(dict.fromkeys(numbers, "float64"))
    answers = [score(model, rows) for model in (rival, trained.twin)]
    return GoldenAnswers(champion=answers[0], challenger=answers[1])


def _calls(file: Path, rows: pd.DataFrame) -> Sequence[Callable[[], object]]:
    """Give one ready call a row, so that only scoring is timed."""
    from baton.packaging.manifest import MODEL
    from baton.packaging.reader import open_contents
    from baton.packaging.rows import Rows, rows_from_frame
    from baton.packaging.scorer import Scorer

    model = open_contents(file.parent)
    scorer, ready = Scorer(model.files[MODEL]), rows_from_frame(rows, model.bundle.fields)
    parts = (Rows(numbers=ready.numbers[i : i + 1], texts=ready.texts[i : i + 1]) for i in range(len(rows)))
    return [partial(scorer.score, part) for part in parts]


def _prints(platform: Platform, model: Contents) -> RowPrints | None:
    try:
        return read_prints(training_rows(platform, model.bundle.digest))
    except SourceMissing:
        return None
