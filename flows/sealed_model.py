"""A sealed model as the flows use it: where it comes from, and what it answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from baton.core.digest import digest_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec
    from baton.packaging.reader import Contents


def recipe(spec: ModelSpec) -> str:
    """Name what makes a model beside its data: features, trainer, parameters and window."""
    return digest_of([spec.task, spec.features.names, spec.features.text, spec.training.model_dump(mode="json")])


def score(model: Contents, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Score rows with a sealed model, as serving would."""
    from baton.packaging.manifest import MODEL
    from baton.packaging.rows import rows_from_frame
    from baton.packaging.scorer import Scorer

    return Scorer(model.files[MODEL]).score(rows_from_frame(rows, model.bundle.fields))


def facts(model: Contents) -> dict[str, Any]:
    """Read where a sealed model comes from."""
    from baton.packaging.manifest import FACTS

    found: dict[str, Any] = json.loads(model.files[FACTS])
    return found
