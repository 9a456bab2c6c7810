import pytest

from demo import flights


@pytest.fixture(scope="module")
def rows():
    return flights.load_flights()


def test_the_shares_of_late_flights_are_those_of_the_data(rows) -> None:
    late = rows.groupby("month")[flights.TARGET].mean().round(3).to_dict()

    assert len(rows) == 327_346
    assert late == {
        1: 0.227, 2: 0.229, 3: 0.228, 4: 0.279, 5: 0.22, 6: 0.308,
        7: 0.315, 8: 0.238, 9: 0.132, 10: 0.168, 11: 0.174, 12: 0.326,
    }  # fmt: skip


def test_clock_times_become_minutes(rows) -> None:
    first = rows.iloc[0]

    assert (first["month"], first["day"], first["sched_dep_minute"]) == (1, 1, 5 * 60 + 15)
    assert rows["sched_dep_minute"].between(0, 24 * 60).all()
    assert not rows[flights.FEATURES].isna().any().any()


def test_months_are_cut_at_both_ends(rows) -> None:
    assert set(flights.months(rows, 1, 3)["month"]) == {1, 2, 3}


def test_the_pipeline_orders_april_by_risk(rows) -> None:
    from sklearn.metrics import roc_auc_score

    train, april = flights.months(rows, 1, 3)[::10], flights.months(rows, 4, 4)[::10]
    fitted = flights.make_pipeline().fit(train[flights.FEATURES], train[flights.TARGET])

    assert roc_auc_score(april[flights.TARGET], fitted.predict_proba(april[flights.FEATURES])[:, 1]) > 0.85
