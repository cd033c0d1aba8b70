import time
from dataclasses import replace

import numpy as np
import pytest

from baton.core.evaluation import Measure, Slice
from baton.core.verdict import Check, Outcome
from baton.registry import verdict_figures
from baton.registry.figures import draw_figures

ROWS = 3_000
CLASSES = ["north", "south", "east"]


@pytest.fixture
def draw(make_run, promoting, tmp_path):
    """Draw figures of labels and scores, with what else they need."""

    def drawn(labels, challenger, champion=None, **changes):
        usual = {"evaluation": make_run().evaluation, "verdict": promoting}
        figures = draw_figures(
            tmp_path / "figures", labels=labels, challenger=challenger, champion=champion, **usual | changes
        )
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures.values())
        return figures

    return drawn


def chances(classes=3, *, noise=0.0, seed=1):
    """Give labels of several classes with what a model answers."""
    generator = np.random.default_rng(seed)
    known = np.random.default_rng(0).normal(size=(ROWS, classes)) + np.linspace(1.5, -1.5, classes)
    labels = (known + np.random.default_rng(2).gumbel(size=known.shape)).argmax(axis=1).astype(float)
    answers = np.exp(known + noise * generator.normal(size=known.shape))
    return labels, answers / answers.sum(axis=1, keepdims=True)


def amounts(*, noise=0.2, seed=1):
    truth = np.exp(np.random.default_rng(0).normal(3, 0.6, ROWS))
    return truth, truth * np.exp(noise * np.random.default_rng(seed).normal(size=ROWS))


class TestTwoClasses:
    @pytest.mark.parametrize("first", [True, False], ids=["first champion", "two models"])
    def test_every_figure_is_a_picture(self, month, better, worse, judge, draw, first):  # noqa: PLR0917
        champion = None if first else worse
        figures = draw(month.labels, better, champion, verdict=judge(month, better, champion))
        assert list(figures) == ["ranking", "calibration", "gain", "slices"]

    def test_scores_that_are_all_alike_are_drawn(self, month, better, draw):
        draw(month.labels, np.full(len(month.labels), 0.3), better)

    def test_labels_that_are_all_alike_are_drawn(self, month, better, draw):
        draw(np.zeros(len(month.labels)), better)

    def test_a_month_of_28_000_rows_is_drawn_in_about_a_second(self, make_month, draw):
        month = make_month(seed=3, rows=1_000)
        one, two = month.scores(noise=0.1, seed=1), month.scores(noise=0.3, seed=2)
        begun = time.process_time()
        draw(month.labels, one, two)
        assert time.process_time() - begun < 2.4


class TestSeveralClasses:
    @pytest.mark.parametrize("first", [True, False], ids=["first champion", "two models"])
    def test_every_figure_is_a_picture(self, draw, first):
        labels, one = chances()
        champion = None if first else chances(noise=1.0)[1]
        figures = draw(labels, one, champion, task="multiclass", classes=CLASSES)
        assert list(figures) == ["ranking", "calibration", "confusion", "gain", "slices"]

    def test_many_classes_with_odd_names_are_drawn(self, draw):
        labels, one = chances(15)
        odd = ["$\\alpha_{", "a\nb", "x" * 300, "<b>", *(str(number) for number in range(11))]
        draw(labels, one, one, task="multiclass", classes=odd)

    def test_a_class_that_never_came_is_left_out(self, draw):
        labels, one = chances()
        draw(np.minimum(labels, 1), one, task="multiclass", classes=CLASSES)

    def test_classes_without_names_are_numbered(self, draw):
        labels, one = chances()
        draw(labels, one, task="multiclass")


class TestNumbers:
    @pytest.mark.parametrize("first", [True, False], ids=["first champion", "two models"])
    @pytest.mark.parametrize("rows", [1, 300, ROWS])
    def test_every_figure_is_a_picture(self, draw, first, rows):
        labels, one = amounts()
        champion = None if first else amounts(noise=0.5, seed=2)[1][:rows]
        figures = draw(labels[:rows], one[:rows], champion, task="regression")
        assert list(figures) == ["predicted", "residuals", "gain", "slices"]

    def test_predictions_that_are_all_alike_are_drawn(self, draw):
        draw(np.zeros(ROWS), np.zeros(ROWS), np.full(ROWS, 1e9), task="regression")


class TestGain:
    @pytest.fixture
    def crowded(self, promoting):
        """Give a verdict with forty slices, one failed and the last undecided."""
        outcomes = [Outcome.FAILED, *[Outcome.PASSED] * 30, *[Outcome.NOTED] * 8, Outcome.UNDECIDED]
        slices = [
            Check(name=f"slice {number}", outcome=outcome, observed=0.0, required=0.0, low=-0.1, high=0.1)
            for number, outcome in enumerate(outcomes)
        ]
        return replace(promoting, checks=(*promoting.checks, *slices))

    def test_of_many_checks_the_undone_are_drawn_first(self, crowded):
        kinds = list(verdict_figures._kinds(crowded).values())
        assert sum(len(checks) for checks in kinds) == verdict_figures.MOST_CHECKS
        assert [check.name for check in kinds[0]] == ["better_on_average", "not_worse"]
        assert [check.name for check in kinds[-1]][:2] == ["slice 0", "slice 39"]
        assert Outcome.NOTED not in {check.outcome for checks in kinds for check in checks}

    def test_the_interval_has_the_level_of_the_verdict(self, promoting):
        [first, *_] = verdict_figures._kinds(replace(promoting, alpha=0.05 / 30))
        assert "99.67% interval" in first

    def test_a_verdict_without_intervals_is_drawn(self, month, better, draw, promoting):
        draw(month.labels, better, verdict=replace(promoting, checks=promoting.checks[:1]))


def test_of_many_slices_the_largest_are_drawn(month, better, draw, make_run):
    measure = Measure(value=0.4, standard_error=float("nan"))
    many = tuple(Slice(column="depot", value=str(n), rows=n, measure=measure) for n in range(1, 500))
    figures = draw(month.labels, better, evaluation=replace(make_run().evaluation, slices=many))
    assert figures["slices"].stat().st_size < 300_000


def test_without_slices_there_is_no_figure_of_them(month, better, draw, make_run):
    assert "slices" not in draw(month.labels, better, evaluation=replace(make_run().evaluation, slices=()))
