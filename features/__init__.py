"""Rows of the source come in; they go out landed, joined as known at each moment, and frozen as a `Snapshot`."""
