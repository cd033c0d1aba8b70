import time

import numpy as np
import pytest

from baton.registry.figures import draw_figures


@pytest.mark.parametrize("first", [True, False], ids=["first champion", "two models"])
def test_every_figure_is_a_picture(month, better, worse, judge, make_run, tmp_path, first):  # noqa: PLR0917
    champion = None if first else worse
    figures = draw_figures(
        tmp_path / "figures",
        labels=month.labels,
        challenger=better,
        champion=champion,
        evaluation=make_run().evaluation,
        verdict=judge(month, better, champion),
    )
    assert list(figures) == ["ranking", "calibration", "gain", "slices"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures.values())


def test_scores_that_are_all_alike_are_drawn(month, judge, better, make_run, tmp_path):
    flat = np.full(len(month.labels), 0.3)
    draw_figures(
        tmp_path,
        labels=month.labels,
        challenger=flat,
        champion=better,
        evaluation=make_run().evaluation,
        verdict=judge(month, flat, better),
    )


def test_a_month_of_28_000_rows_is_drawn_in_about_a_second(make_month, judge, make_run, tmp_path):
    month = make_month(seed=3, rows=1_000)
    one, two = month.scores(noise=0.1, seed=1), month.scores(noise=0.3, seed=2)
    verdict = judge(month, one, two)
    begun = time.process_time()
    draw_figures(
        tmp_path,
        labels=month.labels,
        challenger=one,
        champion=two,
        evaluation=make_run().evaluation,
        verdict=verdict,
    )
    assert time.process_time() - begun < 2.4
