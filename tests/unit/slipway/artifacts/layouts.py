"""MLmodel files as MLflow's versions write them."""

from __future__ import annotations

SIGNATURE = """\
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "string", "name":
    "c", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: null
"""

# MLflow 1.x: env is a path; python_env.yaml and mlflow_version do not exist.
V1 = {
    "MLmodel": """\
artifact_path: model
flavors:
  python_function:
    data: model.pkl
    env: conda.yaml
    loader_module: mlflow.sklearn
    python_version: 3.7.3
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 0.20.3
run_id: 0123456789abcdef0123456789abcdef
"""
    + SIGNATURE.replace("\n  params: null", "")
    + "utc_time_created: '2019-08-01 10:00:00.000000'\n",
    "conda.yaml": """\
channels:
- defaults
dependencies:
- python=3.7.3
- scikit-learn=0.20.3
- libgomp
- pip:
  - mlflow
  - cloudpickle==1.2.0
name: mlflow-env
""",
}

# MLflow 2.x: env is a mapping.
V2 = {
    "MLmodel": """\
artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.3.0
mlflow_version: 2.9.2
model_size_bytes: 1024
model_uuid: 0123456789abcdef0123456789abcdef
run_id: fedcba9876543210fedcba9876543210
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  type: dataframe
"""
    + SIGNATURE
    + "utc_time_created: '2023-12-01 10:00:00.000000'\n",
    "conda.yaml": """\
channels:
- conda-forge
dependencies:
- python=3.11.7
- pip<=23.3
- pip:
  - mlflow==2.9.2
  - scikit-learn==1.3.0
name: mlflow-env
""",
    "python_env.yaml": """\
python: 3.11.7
build_dependencies:
- pip==23.3
- setuptools
- wheel
dependencies:
- -r requirements.txt
""",
    "requirements.txt": "mlflow==2.9.2\nscikit-learn==1.3.0",
}

# MLflow 3.x adds keys; a comment and an unknown key stand for what people and later versions add.
V3 = V2 | {
    "MLmodel": "# logged by the nightly job\n"
    + V2["MLmodel"]
    .replace("artifact_path: model\n", "artifact_path: s3://mlflow/1/models/m-1/artifacts\n", 1)
    .replace("mlflow_version: 2.9.2", "is_signature_from_type_hint: false\nmlflow_version: 3.17.2\nmodel_id: m-1")
    + "type_hint_from_example: false\nadded_in_2030: {deep: [1, 2.50, yes, 0x1F]}  # unknown to us\n",
}

LAYOUTS = {"1.x": V1, "2.x": V2, "3.x": V3}
