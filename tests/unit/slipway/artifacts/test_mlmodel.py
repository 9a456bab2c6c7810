from __future__ import annotations

import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.artifacts.lock import DependencyLock
from slipway.artifacts.mlmodel import patch_mlmodel, read_mlmodel, require_signature
from slipway.errors import InvalidMLmodelError, ModelNotDeployableError

from .layouts import LAYOUTS, V1, V2, V3

LOCK = DependencyLock.from_text(
    "numpy==2.4.6 \\\n    --hash=sha256:00\nscikit-learn==1.3.0 \\\n    --hash=sha256:11\n",
    key="k",
    python="3.11",
    platform="linux/amd64",
)
ENV = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}


def patched(files: dict[str, str], python: str = "3.11") -> dict[str, str]:
    return files | patch_mlmodel(files, LOCK, python).files


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_read(files: dict[str, str]) -> None:
    mlmodel = read_mlmodel(files["MLmodel"])
    assert mlmodel.flavors == ("python_function", "sklearn")
    assert mlmodel.loader_module == "mlflow.sklearn"
    assert mlmodel.conda == "conda.yaml"
    assert mlmodel.signature is not None
    assert [column["name"] for column in mlmodel.signature["inputs"]] == ["a", "c"]
    require_signature(mlmodel)


def test_what_old_files_do_not_say_is_none() -> None:
    old = read_mlmodel(V1["MLmodel"])
    assert (old.mlflow_version, old.virtualenv, old.input_example) == (None, None, None)
    new = read_mlmodel(V3["MLmodel"])
    assert (new.mlflow_version, new.virtualenv, new.input_example) == (
        "3.17.2",
        "python_env.yaml",
        "input_example.json",
    )


def test_python_3_10_is_not_the_number_3_1() -> None:
    text = V2["MLmodel"].replace("python_version: 3.11.7", "python_version: 3.10")
    assert read_mlmodel(text).python_version == "3.10"


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_patch_pins_every_environment_file(files: dict[str, str]) -> None:
    result = patched(files)
    assert yaml.safe_load(result["MLmodel"])["flavors"]["python_function"]["env"] == ENV
    conda = yaml.safe_load(result["conda.yaml"])
    assert conda["dependencies"] == ["python=3.11", "pip", {"pip": ["numpy==2.4.6", "scikit-learn==1.3.0"]}]
    assert conda["name"] == "mlflow-env"
    python_env = yaml.safe_load(result["python_env.yaml"])
    assert python_env["python"] == "3.11"
    assert python_env["dependencies"] == ["-r requirements.txt"]
    assert result["requirements.txt"] == "numpy==2.4.6\nscikit-learn==1.3.0\n"


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_patch_twice_changes_nothing_more(files: dict[str, str]) -> None:
    again = patch_mlmodel(patched(files), LOCK, "3.11")
    assert again.files == {}
    assert again.diff == ""


def test_a_mapped_env_leaves_mlmodel_byte_for_byte() -> None:
    assert "MLmodel" not in patch_mlmodel(V3, LOCK, "3.11").files


def test_only_the_env_lines_of_mlmodel_change() -> None:
    before, after = V1["MLmodel"].splitlines(), patched(V1)["MLmodel"].splitlines()
    assert [line for line in before if line not in after] == ["    env: conda.yaml"]
    assert [line for line in after if line not in before] == [
        "    env: {conda: conda.yaml, virtualenv: python_env.yaml}",
    ]


def test_missing_env_is_added_and_comments_unknown_keys_and_their_notation_stay() -> None:
    text = V3["MLmodel"].replace("    env:\n      conda: conda.yaml\n      virtualenv: python_env.yaml\n", "")
    assert "env:" not in text
    after = patched(V3 | {"MLmodel": text})["MLmodel"]
    assert yaml.safe_load(after)["flavors"]["python_function"]["env"] == ENV
    assert after.startswith("# logged by the nightly job\n")
    assert after.endswith("added_in_2030: {deep: [1, 2.50, yes, 0x1F]}  # unknown to us\n")


def test_other_names_in_env_are_replaced_and_further_keys_kept() -> None:
    text = V2["MLmodel"].replace("conda: conda.yaml", "conda: envs/my.yaml\n      docker: image")
    files = {**V2, "MLmodel": text, "envs/my.yaml": V2["conda.yaml"].replace("name: mlflow-env", "name: mine")}
    del files["conda.yaml"]
    result = patched(files)
    assert yaml.safe_load(result["MLmodel"])["flavors"]["python_function"]["env"] == ENV | {"docker": "image"}
    assert yaml.safe_load(result["conda.yaml"])["name"] == "mine"


def test_model_without_any_environment_file_gets_all_three() -> None:
    result = patch_mlmodel({"MLmodel": V1["MLmodel"]}, LOCK, "3.10")
    assert sorted(result.files) == ["MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"]
    assert yaml.safe_load(result.files["python_env.yaml"])["python"] == "3.10"


def test_windows_line_ends_stay() -> None:
    after = patched({"MLmodel": V1["MLmodel"].replace("\n", "\r\n")})["MLmodel"]
    assert after.count("\r\n") == after.count("\n")


def test_diff_names_each_file_and_marks_a_missing_last_line_end() -> None:
    diff = patch_mlmodel(V2, LOCK, "3.11").diff
    assert "--- a/conda.yaml\n+++ b/conda.yaml\n" in diff
    assert "-scikit-learn==1.3.0\n\\ No newline at end of file\n" in diff
    new = patch_mlmodel({"MLmodel": V1["MLmodel"]}, LOCK, "3.11").diff
    assert "--- /dev/null\n+++ b/requirements.txt\n" in new


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavors:\n  python_function: {loader_module: x\n", "line 3"),
        ("flavors:\n\tpython_function: 1\n", "line 2"),
        ("- a\n- b\n", "mapping"),
        ("", "mapping"),
        ("a: 1\n", "flavors"),
        ("flavors: []\n", "flavors"),
        ("flavors: {python_function: 3}\n", "python_function"),
        ("flavors: {python_function: {env: [1]}}\n", "env"),
        ("flavors: {python_function: {}}\nsignature: {inputs: '[{'}\n", "signature 'inputs'"),
        ("flavors: {python_function: {}}\nsignature: 5\n", "signature"),
        ("flavors: {a: 1}\nflavors: {b: 2}\n", "line 2"),
        ("[" * 5000, "MLmodel"),
    ],
)
def test_a_broken_file_says_what_and_where(text: str, words: str) -> None:
    with pytest.raises(InvalidMLmodelError, match="MLmodel") as caught:
        read_mlmodel(text)
    assert words in str(caught.value)


def test_a_broken_conda_file_is_named() -> None:
    with pytest.raises(InvalidMLmodelError, match=r"conda\.yaml, line 2"):
        patch_mlmodel(V2 | {"conda.yaml": "a: 1\n b: 2\n"}, LOCK, "3.11")


def test_no_signature_is_refused_unless_allowed() -> None:
    for text in (
        V2["MLmodel"].split("signature:")[0],
        V2["MLmodel"].split("signature:")[0] + "signature: {inputs: null}",
    ):
        mlmodel = read_mlmodel(text)
        with pytest.raises(ModelNotDeployableError, match="infer_signature"):
            require_signature(mlmodel)
        require_signature(mlmodel, allow_missing=True)


def test_no_mlmodel_file_and_no_python_flavor_are_refused() -> None:
    with pytest.raises(ModelNotDeployableError, match="MLmodel"):
        patch_mlmodel({"conda.yaml": ""}, LOCK, "3.11")
    with pytest.raises(ModelNotDeployableError, match="crate"):
        patch_mlmodel({"MLmodel": "flavors: {crate: {version: 1}}\n"}, LOCK, "3.11")


_KEYS = st.text(string.ascii_letters + string.digits + "_- .", min_size=1, max_size=12)
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=120) | st.datetimes()
)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3))
_ENVS = st.none() | st.just("conda.yaml") | st.just(ENV) | st.dictionaries(_KEYS, st.text(max_size=8), max_size=2)


@settings(deadline=None)
@given(
    extra=st.dictionaries(_KEYS, _VALUES, max_size=4),
    pyfunc=st.dictionaries(_KEYS, _VALUES, max_size=3),
    flavors=st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=2), max_size=2),
    env=_ENVS,
    width=st.sampled_from([40, 80, 4096]),
)
def test_whatever_else_a_file_holds_stays(extra: dict, pyfunc: dict, flavors: dict, env: object, width: int) -> None:
    pyfunc = {key: value for key, value in pyfunc.items() if key != "env"} | ({} if env is None else {"env": env})
    document = {**extra, "flavors": {**flavors, "python_function": pyfunc}}
    document.pop("signature", None)
    text = yaml.safe_dump(document, sort_keys=False, width=width, allow_unicode=True)
    files = {"MLmodel": text}
    result = patched(files)
    # Both sides through the same parser, as MLflow's: what was there is there, in its order, with its type.
    expected = yaml.safe_load(text)
    found = yaml.safe_load(result["MLmodel"])
    wanted_env = (env if isinstance(env, dict) else {}) | ENV
    assert found["flavors"]["python_function"].pop("env") == wanted_env
    expected["flavors"]["python_function"].pop("env", None)
    assert found == expected
    assert [*found] == [*expected]
    assert [*found["flavors"]] == [*expected["flavors"]]
    assert patch_mlmodel(result, LOCK, "3.11").files == {}


def test_an_alias_is_not_edited_in_the_wrong_place() -> None:
    text = "flavors:\n  other: {env: &e {conda: x.yaml}}\n  python_function:\n    env: *e\n    loader_module: m\n"
    result = yaml.safe_load(patched({"MLmodel": text})["MLmodel"])
    assert result["flavors"]["python_function"] == {"env": ENV, "loader_module": "m"}
    assert set(result["flavors"]) == {"other", "python_function"}
