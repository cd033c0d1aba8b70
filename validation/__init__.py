"""Landed batches and trained models come in; they go out with a report, and bad rows go to quarantine."""
