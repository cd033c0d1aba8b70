"""A trainer tried against its contract, its export included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from baton.flows.sealing import fields_of

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec
    from baton.training.contract import Finding
    from baton.training.fit import Fitted


def findings_of(named: str, *, folder: Path) -> tuple[Finding, ...]:
    """Give every promise of a trainer, kept or not; see `baton.training.contract`."""
    from baton.training.contract import check_trainer

    return check_trainer(named, folder=folder, export=_exported)


def _exported(fitted: Fitted, rows: pd.DataFrame, spec: ModelSpec) -> None:
    """Export a fitted model and prove that it answers as before."""
    from baton.packaging.onnx_export import export
    from baton.packaging.parity import prove

    fields = fields_of(spec, rows)
    done = export(fitted.pipeline, fields, task=fitted.task, classes=fitted.classes, calibration=fitted.calibration)
    prove(
        done.onnx,
        fitted.pipeline,
        rows[list(spec.features.names)],
        fields=fields,
        task=fitted.task,
        calibration=fitted.calibration,
        cuts=done.cuts,
    )
