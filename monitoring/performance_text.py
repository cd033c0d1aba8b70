"""Realised and estimated performance as one line each, so that nobody takes the one for the other."""

from __future__ import annotations

from baton.core.drift_report import Estimate, PerformanceReport

# As people write them.
NAMES = {"auc": "AUC", "pr_auc": "PR AUC", "log_loss": "log loss", "brier": "Brier score", "macro_f1": "macro F1"}
# Two figures are enough to act on; the rest is in the JSON.
SHOWN = 2


def realised_line(report: PerformanceReport) -> str:
    """Say what the labels that have come show, and how many have."""
    told = [f"{NAMES.get(name, name)} {value:.4f}" for name, value in report.metrics.items() if value is not None]
    if not told:
        return f"realised: no label has come for {report.rows:,} answers"
    labels = f"{report.labelled:,} labels ({report.maturity:.0%} have come)"
    off = f", calibration {report.calibration:+.3f}" if report.calibration is not None else ""
    again = f", {report.corrected:,} of them replaced an earlier one" if report.corrected else ""
    first = sorted(told, key=lambda each: not each.startswith("AUC"))[:SHOWN]
    return f"realised: {', '.join(first)}{off} on {labels}{again}"


def estimate_line(estimate: Estimate) -> str:
    """Say what is likely without labels, as the proxy that it is, beside the holdout's own."""
    if not estimate.metrics:
        return f"estimated: not known, {estimate.why}"
    told = []
    for name, each in estimate.metrics.items():
        span = f"{each.low:.4f} to {each.high:.4f}; holdout {estimate.reference[name]:.4f}"
        told.append(f"{NAMES.get(name, name)} {each.value:.4f} ({span})")
    doubt = "" if estimate.trusted else f"; not to be trusted: {estimate.why}"
    return f"estimated without labels, a proxy: {', '.join(told[:SHOWN])}{doubt}"
