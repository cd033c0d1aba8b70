"""The order of things: moments and triggers come in, ledger entries and reports go out."""
