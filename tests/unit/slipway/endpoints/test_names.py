"""Names follow from content and fit SageMaker."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.endpoints.names import MAX_LENGTH, config_name, model_name

names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=32)
requests = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4)


def test_only_content_makes_a_name() -> None:
    for extra in ({"Tags": [{"Key": "a", "Value": "b"}]}, {"EndpointConfigName": "x", "ModelName": "y"}):
        assert config_name("s", "dev", {"KmsKeyId": "k", **extra}) == config_name("s", "dev", {"KmsKeyId": "k"})
        assert model_name("s", "dev", "r", {"Image": "i", **extra}) == model_name("s", "dev", "r", {"Image": "i"})


@given(service=names, stage=st.sampled_from(["dev", "prod"]), request_=requests)
def test_names_fit_sagemaker(service: str, stage: str, request_: dict[str, Any]) -> None:
    for name in (config_name(service, stage, request_), model_name(service, stage, "0123456789ab", request_)):
        assert len(name) <= MAX_LENGTH
        assert name.startswith(f"{service}-{stage}-")
        assert name == name.strip("-")
