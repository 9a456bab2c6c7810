import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from slipway.drift.bins import CategoryBins, NumericBins
from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.learning import learn_reference, schema_of_table
from slipway.drift.profiling import profile_batch
from slipway.drift.reference import read_reference
from slipway.drift.schema import Column
from slipway.drift.training import baseline_file, make_reference
from slipway.errors import InvalidInputError
from tests.unit.slipway.drift.older_baseline import older_baseline

LARGEST = float(np.finfo(np.float64).max)
WEEKLY = DriftPolicy(runs_per_year=52)


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "n": rng.integers(0, 50, rows),
            "c": rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]),
            "flag": rng.random(rows) < 0.3,
            "at": pd.date_range("2013-01-01", periods=rows, freq="min"),
        }
    )


def test_a_reference_of_a_frame_survives_storage():
    rows = frame(5000)
    reference = make_reference(rows, np.stack([1 - rows.x, rows.x], axis=1))
    names = ["x", "n", "c", "flag", "at", "prediction[0]", "prediction[1]"]
    assert [column.name for column in reference.schema.columns] == names
    assert reference.origin == {"rows": 5000, "chunks": 25, "source": "training"}
    assert reference.baseline.profile.rows == 5000
    assert all(column.rows == 5000 for column in reference.baseline.profile.columns.values())
    again = read_reference(reference.to_bytes())
    assert again.to_bytes() == reference.to_bytes()
    assert again.bins.digest == reference.bins.digest
    assert again.schema == reference.schema
    assert again.baseline.spreads == reference.baseline.spreads


def test_a_trainers_baseline_has_parts_of_about_the_windows_length_and_knows_what_was_thinned_out():
    rows = frame(20_000)
    rows["x"] += np.repeat(np.random.default_rng(1).normal(scale=0.5, size=20), 1000)  # days differ
    days = {"seconds": 20 * 86_400.0, "window_hours": 24.0}
    path, whole = baseline_file(rows, rows.x, every=1, **days)
    assert path == "slipway/baseline.json"
    assert read_reference(whole).origin == {"rows": 20_000, "chunks": 20, "source": "training"}
    found = read_reference(whole).baseline.spreads["x"]
    assert found.variance > 0
    thin = read_reference(baseline_file(rows[::4], rows.x[::4], every=4, **days)[1])
    assert thin.origin["every"] == 4
    assert thin.baseline.spreads["x"].chunk_rows == found.chunk_rows
    assert thin.baseline.spreads["x"].for_rows(250) == pytest.approx(found.for_rows(250), rel=0.3)


@pytest.mark.parametrize(("seconds", "chunks"), [(3600.0, 8), (15 * 3600.0, 15), (1e9, 20)])
def test_the_number_of_parts_keeps_within_bounds(seconds, chunks):
    content = baseline_file(frame(4000), None, every=1, seconds=seconds, window_hours=1.0)[1]
    assert read_reference(content).origin["chunks"] == chunks  # at most one for each 200 rows


def test_a_series_a_matrix_and_a_table_are_taken():
    rows = frame(1000)
    assert make_reference(rows, rows.x).schema.outputs == (Column("prediction", "double"),)
    assert make_reference(rows, rows.c).schema.outputs == (Column("prediction", "string"),)
    matrix = make_reference(rows[["x", "n"]].to_numpy())
    assert not matrix.schema.named
    assert [column.name for column in matrix.schema.inputs] == ["0", "1"]
    assert make_reference(pa.Table.from_pandas(rows[["x"]])).schema.named
    named = make_reference(rows, rows[["x", "c"]])
    assert [column.name for column in named.schema.outputs] == ["prediction[x]", "prediction[c]"]


def test_new_rows_of_the_same_kind_are_stable_and_predictions_are_judged_too():
    rows = frame(20_000)
    reference = make_reference(rows.drop(columns="at"), rows.x)
    fresh = frame(4000, seed=1)
    fresh["prediction"] = fresh.x + 1
    window = profile_batch(pa.RecordBatch.from_pandas(fresh), reference.bins)
    found = judge(reference.baseline, window, WEEKLY)
    assert {finding.column for finding in found.drifted} == {"prediction"}
    calm = profile_batch(pa.RecordBatch.from_pandas(fresh.assign(prediction=fresh.x)), reference.bins)
    assert judge(reference.baseline, calm, WEEKLY).verdict is DriftVerdict.STABLE


def test_the_size_of_the_batches_changes_nothing():
    table = pa.Table.from_pandas(frame(3000), preserve_index=False)
    schema = schema_of_table(table.schema)
    made = [
        learn_reference(lambda size=size: table.to_batches(max_chunksize=size), schema, {}, chunks=10)
        for size in (7, 700, 10_000)
    ]
    counts = [[column.counts.tolist() for column in each.baseline.profile.columns.values()] for each in made]
    assert counts[0] == counts[1] == counts[2]
    assert made[0].bins.digest == made[1].bins.digest == made[2].bins.digest


def test_bins_of_more_values_than_are_kept_come_from_an_even_sample(monkeypatch):
    monkeypatch.setattr("slipway.drift.learning._KEPT_VALUES", 1000)
    monkeypatch.setattr("slipway.drift.learning._LEAST_KEPT", 1000)
    table = pa.table({"x": np.arange(100_000.0)})
    schema = schema_of_table(table.schema)
    reference = learn_reference(lambda: table.to_batches(max_chunksize=333), schema, {})
    bins = reference.bins.columns["x"]
    assert isinstance(bins, NumericBins)
    assert np.allclose(np.asarray(bins.edges), np.linspace(0, 100_000, len(bins.edges)), atol=500)
    assert reference.baseline.profile.columns["x"].rows == 100_000


def test_rare_categories_are_not_known_one_by_one(monkeypatch):
    monkeypatch.setattr("slipway.drift.learning._KEPT_CATEGORIES", 50)
    values = ["often"] * 500 + [f"id-{number}" for number in range(1000)]
    table = pa.table({"c": values})
    reference = learn_reference(lambda: table.to_batches(max_chunksize=100), schema_of_table(table.schema), {})
    bins = reference.bins.columns["c"]
    assert isinstance(bins, CategoryBins)
    assert "often" in bins.known
    assert len(bins.known) <= 150


def test_what_cannot_be_learned_is_said():
    with pytest.raises(InvalidInputError, match="needs rows"):
        make_reference(frame(0))
    with pytest.raises(InvalidInputError, match="can be watched"):
        make_reference(pa.table({"lists": [[1], [2]]}))


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"format": 1}', b'{"format": 9}'])
def test_damaged_and_newer_files_are_refused(damage):
    with pytest.raises(InvalidInputError):
        read_reference(damage)


@pytest.mark.parametrize("values", [[1.0] * 999 + [LARGEST], [LARGEST] * 1000, [LARGEST, -LARGEST] * 500])
def test_the_largest_doubles_can_be_stored(values):
    reference = make_reference(pd.DataFrame({"x": values}))
    again = read_reference(reference.to_bytes())
    assert again.to_bytes() == reference.to_bytes()
    moments = again.baseline.profile.columns["x"].moments
    assert (moments.count, moments.maximum) == (1000, LARGEST)
    assert moments.mean == pytest.approx(float(np.mean(np.array(values) / 1000)) * 1000)
    assert moments == reference.baseline.profile.columns["x"].moments
    window = profile_batch(pa.record_batch({"x": values}), again.bins)
    assert judge(again.baseline, window, WEEKLY).verdict is DriftVerdict.STABLE


def test_it_is_plain_json():
    document = json.loads(make_reference(frame(500)).to_bytes())
    assert set(document) == {"format", "bins_version", "origin", "schema", "bins", "spreads", "profile"}


def flags(rows: int, seed: int, share: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    one = rng.random(rows) < share
    return pd.DataFrame(
        {"x": rng.normal(size=rows), "flag": one.astype(int), "level": 5.0, "few": rng.integers(0, 3, rows)}
    )


def test_columns_of_an_older_baseline_that_hide_changes_are_never_called_stable():
    old = read_reference(older_baseline(flags(5000, 0, 0.1)))
    assert old.blind == ("flag", "level", "few")
    assert read_reference(old.to_bytes()).blind == old.blind
    window = profile_batch(pa.RecordBatch.from_pandas(flags(5000, 1, 0.9)), old.bins)
    found = judge(old.baseline, window, WEEKLY, old.blind)
    distances = {each.column: each.verdict for each in found.findings if each.statistic == "kolmogorov_smirnov"}
    unknown = dict.fromkeys(old.blind, DriftVerdict.INCONCLUSIVE)
    assert distances == {"x": DriftVerdict.STABLE, **unknown}
    assert (found.verdict, found.unjudged) == (DriftVerdict.STABLE, ()), "x can be judged"
    gone = flags(5000, 1, 0.9).assign(level=7.0)
    window = profile_batch(pa.RecordBatch.from_pandas(gone), old.bins)
    assert [each.column for each in judge(old.baseline, window, WEEKLY, old.blind).drifted] == ["level"]


def test_baselines_of_today_and_those_brought_along_hide_nothing():
    assert make_reference(flags(5000, 0, 0.1)).blind == ()
    assert read_reference(make_reference(flags(5000, 0, 0.1)).to_bytes()).blind == ()
    assert read_reference(older_baseline(flags(5000, 0, 0.1)[["x"]])).blind == ()
    assert read_reference(older_baseline(flags(5000, 0, 0.1), source="model_monitor")).blind == ()
