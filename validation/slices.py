"""Which rows make which slices; whether a model does worse on one is the gate's to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from baton.core.errors import SourceMissing, listed
from baton.validation.row_groups import grouped

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.policy import SliceSpec
    from baton.core.profile import Profile


def slice_masks(
    spec: SliceSpec, frame: pd.DataFrame, text_features: Sequence[str], *, reference: Profile | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Give the rows of every slice, the largest slice first, and those of equal size by name.

    A slice that holds every row is left out: it is no slice.

    Args:
        spec: Names the columns, all text features where it names none.
        frame: One row per prediction.
        text_features: Which columns are text.
        reference: Its quartiles cut numbers; the frame's own where left out.

    Returns:
        At most `spec.most` masks of shape `(len(frame),)`, by names such as
        `carrier=UA`, `distance in 500..1,000` and `seats missing`.

    Raises:
        SourceMissing: A column is not there.
    """
    columns = list(text_features) if spec.columns is None else spec.columns
    if missing := [name for name in columns if name not in frame.columns]:
        raise SourceMissing(
            what="rows cannot be sliced", why=f"there is no column {listed(missing)}", fix="mend tests.slices.columns"
        )
    quantiles = {column.name: column.quantiles for column in reference.columns} if reference else {}
    text = set(text_features)
    groupings = [grouped(frame[name], text=name in text, reference=quantiles.get(name, ())) for name in columns]
    sizes = {
        (-int(count), name): (grouping, code)
        for grouping in groupings
        for code, (name, count) in enumerate(zip(grouping.names, grouping.counts, strict=True))
        if count < len(frame)
    }
    largest = sorted(sizes)[: spec.most]
    return {name: sizes[size, name][0].codes == sizes[size, name][1] for size, name in largest}
