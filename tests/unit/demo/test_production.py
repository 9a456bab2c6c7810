import pandas as pd
import pytest

from demo.production import payload, same


def test_rows_are_sent_in_mlflows_split_form() -> None:
    rows = pd.DataFrame({"carrier": ["UA", "B6"], "distance": [1400.0, 944.5]}, index=[7, 3])

    assert payload(rows) == {
        "dataframe_split": {"columns": ["carrier", "distance"], "data": [["UA", 1400.0], ["B6", 944.5]]}
    }


@pytest.mark.parametrize(
    ("answer", "expected", "agree"),
    [
        (0.1, 0.1, True),
        (0.1, 0.1 * (1 + 1e-12), True),
        (0.1, 0.1000001, False),
        ([0.9, 0.1], [0.9, 0.1], True),
        ([0.9], [0.9, 0.1], False),
        ([0.9, 0.2], [0.9, 0.1], False),
        (1, 1, True),
        (0, 1, False),
        ("late", "late", True),
        (None, 0.5, False),
        ("0.5", 0.5, False),
    ],
)
def test_answers_agree_to_nine_digits_and_in_form(answer: object, expected: object, agree: bool) -> None:
    assert same(answer, expected) is agree
