import pytest

from slipway.drift.schema import Column, schema_of_signature
from slipway.errors import InvalidInputError


def tensor(dtype, shape):
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def test_named_columns_and_a_table_of_probabilities():
    schema = schema_of_signature(
        {
            "inputs": [
                {"type": "string", "name": "carrier", "required": True},
                {"type": "double", "name": "delay"},
                {"type": "datetime", "name": "at"},
                {"type": "boolean", "name": "night"},
                {"type": "array", "items": {"type": "double"}, "name": "embedding"},
            ],
            "outputs": [tensor("float64", [-1, 2])],
        }
    )
    assert [(column.name, column.numeric) for column in schema.inputs] == [
        ("carrier", False),
        ("delay", True),
        ("at", True),
        ("night", False),
    ]
    assert schema.outputs == (Column("prediction[0]", "double"), Column("prediction[1]", "double"))
    assert schema.passed_over == ("embedding",)


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ([tensor("int64", [-1])], ["prediction"]),
        ([{"type": "string"}], ["prediction"]),
        ([{"type": "double", "name": "score"}], ["prediction"]),
        ([{"type": "double", "name": "a"}, {"type": "string", "name": "b"}], ["prediction[a]", "prediction[b]"]),
        ([tensor("float32", [-1, -1])], []),
        (None, []),
    ],
)
def test_predictions(outputs, names):
    schema = schema_of_signature({"inputs": [tensor("float64", [-1, 3])], "outputs": outputs})
    assert [column.name for column in schema.outputs] == names
    assert [column.name for column in schema.inputs] == ["0", "1", "2"]
    assert not schema.named


def test_a_feature_called_prediction_keeps_its_name():
    inputs = [{"type": "double", "name": "prediction"}]
    schema = schema_of_signature({"inputs": inputs, "outputs": [{"type": "double"}]})
    assert [column.name for column in schema.columns] == ["prediction", "_prediction"]


@pytest.mark.parametrize("signature", [None, {}, {"inputs": [tensor("float32", [-1, 28, 28])]}])
def test_nothing_to_watch_is_said(signature):
    with pytest.raises(InvalidInputError, match="can be watched"):
        schema_of_signature(signature)
