"""Learning curves read sideways: against scikit-learn's isotonic regression, and a planted factor of two."""

import numpy as np
import pytest

from radlib.questions.labels_worth import WORTH, in_words, worth_findings, worth_rows
from radlib.stats.curves import FEWER, NOT_REACHED, patients_to_reach
from radlib.stats.estimate import Estimate
from tests.fabricated import make_study

SIZES = [20, 40, 80, 160, 320]


def estimates(levels, noise=0.0, seed=0, resamples=1000):
    """A curve whose points share most of what varies, as test patients do; `noise`: SD of each alone."""
    rng = np.random.default_rng(seed)
    value = np.array(levels) + rng.normal(0, noise, len(levels))
    draws = value + rng.normal(0, noise, (resamples, len(levels)))
    return [Estimate(*pair, patients=100) for pair in zip(value, draws.T, strict=True)]


def level(patients):
    return 0.55 + 0.06 * np.log2(np.array(patients) / 10)


def needed(a, b, size):
    return patients_to_reach(SIZES, b, a[SIZES.index(size)])


def test_a_curve_shifted_by_a_factor_is_read_as_that_factor():
    a, b = estimates(level(SIZES)), estimates(level(np.array(SIZES) / 2))
    assert [needed(a, b, size).value for size in SIZES[:4]] == pytest.approx([40, 80, 160, 320])
    assert needed(a, b, 320).value > 320, "not reached"
    assert needed(b, a, 20).value == FEWER
    assert needed(b, a, 160).value == pytest.approx(80)
    assert [needed(a, a, size).value for size in SIZES] == pytest.approx(SIZES), "worth nothing"


def test_the_interval_covers_a_planted_factor(tmp_path):
    """1.5 times the patients; the truth is inside 95 % of intervals, less three standard errors."""
    held, studies = 0, 150
    for seed in range(studies):
        a = estimates(level(SIZES), 0.008, seed)
        b = estimates(level(np.array(SIZES) / 1.5), 0.008, seed + 1000)
        low, high = needed(a, b, 80).interval(0.95)
        held += low <= 120 <= high
    assert held / studies >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / studies)


def test_of_two_like_curves_neither_is_called_worth_more_than_the_other(tmp_path):
    """Nearly flat ones, whose last point noise puts above the others: both are made to rise."""
    study, ahead, behind = make_study(tmp_path), 0, 0
    levels = 0.8 + 0.002 * np.arange(len(SIZES))
    for seed in range(150):
        a, b = (estimates(levels, 0.02, seed + shift, 400) for shift in (0, 1000))
        last = worth_rows(study, SIZES, a, b, 30)[-1]
        ahead += last["needed_low"] > SIZES[-1]
        behind += last["needed_high"] < SIZES[-1]
    assert max(ahead, behind) <= 9  # 2.5 % of 150 are 4; a binomial has more than 9 in one of 100


@pytest.fixture
def worth(tmp_path):
    """Radiology is worth twice the patients, photographs and random are the same."""
    study = make_study(tmp_path)
    curves = [
        estimates(level(np.array(SIZES) / factor), 0.004, seed) for seed, factor in enumerate((1, 2, 2))
    ]
    rows = []
    for pair, (a, b) in {("radiology", "photographs"): (0, 1), ("photographs", "random"): (1, 2)}.items():
        about = {"task": "thyroid_us", "source_a": pair[0], "source_b": pair[1]}
        rows += [about | row for row in worth_rows(study, SIZES, curves[a], curves[b], 30)]
    return study, WORTH.frame(rows, resamples=1000, simulated=True)


def test_what_lies_beyond_the_data_is_said_in_words(worth):
    study, table = worth
    last = table.query("source_a == 'radiology'").iloc[-1]
    assert last["needed"] == last["needed_high"] == NOT_REACHED
    shown = WORTH.shown(study, in_words(table))["patients with b for that AUC"]
    assert shown.iloc[4].startswith("more than 320 (") and shown.iloc[4].endswith("to more than 320)")
    WORTH.write(study, table)
    assert WORTH.read(study)["needed"].tolist() == pytest.approx(table["needed"].tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("factor", "noise", "verdict"),
    [(2, 0.004, "Simulated radiology is"), (0.5, 0.004, "Simulated photographs is"), (1.02, 0.02, None)],
)
def test_finding_is_of_the_largest_size_whichever_source_is_ahead(tmp_path, factor, noise, verdict):
    """Radiology is worth `factor` times the patients."""
    study = make_study(tmp_path)
    a, b = estimates(level(SIZES), noise, 0), estimates(level(np.array(SIZES) / factor), noise, 1)
    about = {"task": "thyroid_us", "source_a": "radiology", "source_b": "photographs", "counts": "no"}
    table = WORTH.frame([about | row for row in worth_rows(study, SIZES, a, b, 30)], study)
    (found,) = worth_findings(study, table)
    title = "Patients with Simulated photographs for the AUC of 320 with Simulated radiology"
    assert (
        found.subject
        == f"{title}: Thyroid US (does not count) (over patients tested and drawn, of these weights)"
    )
    assert found.verdict == (f"{verdict} worth labelled patients" if verdict else "undecided")
    if factor == 2:
        assert found.value == found.low == "more than 320"
    if factor == 0.5:
        assert 130 < float(found.value) < 190 and float(found.high) < 320
