"""The names that a gate may use are those that the trainer computes."""

from slipway.training.gate_expression import parse_expression
from slipway.training.metric_name import METRICS, unknown_metric
from slipway_trainer.metric import METRICS as COMPUTED


def test_names_are_those_of_the_trainer():
    assert {task: tuple(metrics) for task, metrics in COMPUTED.items()} == dict(METRICS)


def test_an_unknown_name_is_refused_with_a_guess():
    assert unknown_metric(parse_expression("rmse <= 3"), "regression") is None
    assert "did you mean 'areaUnderROC'?" in (unknown_metric(parse_expression("area_under_ROC > 1"), "binary") or "")
