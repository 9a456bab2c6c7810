from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from slipway.artifacts.mlmodel import read_mlmodel
from slipway.artifacts.requirements import choose_python, model_requirements, parse_requirements
from slipway.errors import BaseImageError, DependencyLockError

from .layouts import V1, V2


def stated(text: str, **files: str) -> tuple[str, ...]:
    return parse_requirements(text, "requirements.txt", files).requirements


def of_model(files: dict[str, str]):
    return model_requirements(files, read_mlmodel(files["MLmodel"]))


def test_requirements_txt_wins_and_mlflow_becomes_skinny() -> None:
    found = of_model(V2)
    assert found.requirements == ("mlflow-skinny==2.9.2", "pandas", "scikit-learn==1.3.0", "setuptools<81")
    assert found.python == "3.11.7"
    assert any("mlflow==2.9.2" in note for note in found.notes)


def test_old_models_are_read_from_their_conda_file() -> None:
    found = of_model(V1)
    assert found.requirements == ("cloudpickle==1.2.0", "mlflow-skinny", "pandas", "scikit-learn==0.20.3.*")
    assert found.python == "3.7.3"
    assert any("libgomp" in note and "left out" in note for note in found.notes)


def test_mlflow_without_version_takes_the_one_that_saved_the_model() -> None:
    assert "mlflow-skinny==2.9.2" in of_model(V2 | {"requirements.txt": "MLflow\nscikit_learn"}).requirements


def test_setuptools_only_for_an_mlflow_that_needs_pkg_resources() -> None:
    assert of_model(V2 | {"requirements.txt": "mlflow==3.17.2"}).requirements == ("mlflow-skinny==3.17.2", "pandas")
    assert "setuptools<81" in of_model(V2 | {"requirements.txt": "mlflow-skinny==2.3.*"}).requirements


def test_extras_of_mlflow_are_left_out_with_a_note() -> None:
    found = of_model(V2 | {"requirements.txt": "mlflow[extras]>=2.9,<3"})
    assert found.requirements == ("mlflow-skinny<3,>=2.9", "pandas")
    assert any("extras" in note for note in found.notes)


def test_nothing_stated_is_refused() -> None:
    with pytest.raises(DependencyLockError, match="pip_requirements"):
        of_model({"MLmodel": V2["MLmodel"]})


@pytest.mark.parametrize(
    ("entry", "requirement"),
    [
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("conda-forge::numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4.*"),
        ("numpy>=1.20,<2", "numpy<2,>=1.20"),
        ("pytorch=2.1", "torch==2.1.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("librosa", "librosa"),
    ],
)
def test_conda_notation_is_translated(entry: str, requirement: str) -> None:
    files = V1 | {"conda.yaml": f"dependencies:\n- {entry}\n"}
    assert of_model(files).requirements == (requirement,)


def test_python_of_3_10_stays_3_10_wherever_it_is_written() -> None:
    only_env = {"MLmodel": V2["MLmodel"], "requirements.txt": "numpy", "python_env.yaml": "python: 3.10\n"}
    assert of_model(only_env).python == "3.10"
    only_conda = {**V1, "conda.yaml": "dependencies:\n- python=3.10\n- numpy\n"}
    assert of_model(only_conda).python == "3.10"


def test_comments_continuations_hashes_and_markers() -> None:
    text = "\ufeff# head\n"
    text += "\nnumpy==1.26 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\n"
    text += "Scikit_Learn>=1 ; python_version<'4' # why\n"
    assert stated(text) == ("numpy==1.26", 'scikit-learn>=1; python_version < "4"')


def test_included_files_are_read_and_constraints_kept_apart() -> None:
    found = parse_requirements(
        "-r more.txt\n--constraint=./limits.txt\na",
        "requirements.txt",
        {"more.txt": "b\n-c limits.txt", "limits.txt": "c<2"},
    )
    assert found.requirements == ("a", "b")
    assert found.constraints == ("c<2",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--index-url https://user:secret@host/simple", "UV_INDEX_URL"),
        ("-i https://host/simple", "UV_INDEX_URL"),
        ("--extra-index-url=https://host", "UV_INDEX_URL"),
        ("--find-links /wheels", "UV_INDEX_URL"),
        ("--trusted-host host", "UV_INDEX_URL"),
        ("-e .", "editable"),
        ("--editable=git+https://host/x", "editable"),
        ("--pre", "option"),
        ("git+https://host/x.git@main#egg=x", "repository"),
        ("x @ git+ssh://git@host/x.git", "repository"),
        ("https://host/x-1-py3-none-any.whl", "URL"),
        ("x @ https://host/x.whl", "URL"),
        ("x @ file:///tmp/x.whl", "URL"),
        ("./x", "local path"),
        ("../x", "local path"),
        ("/opt/x", "local path"),
        ("code/x", "local path"),
        ("x-1-py3-none-any.whl", "local path"),
        ("C:\\x", "local path"),
        ("numpy=1.2", "not a package requirement"),
        ("-r other.txt", "not among the model's files"),
    ],
)
def test_lines_that_choose_where_code_comes_from_are_refused_with_file_and_line(line: str, words: str) -> None:
    with pytest.raises(DependencyLockError, match=r"requirements\.txt, line 2") as caught:
        stated(f"numpy\n{line}\n")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_includes_itself_is_refused() -> None:
    with pytest.raises(DependencyLockError, match=r"a\.txt → b\.txt → a\.txt"):
        parse_requirements("-r b.txt", "a.txt", {"a.txt": "-r b.txt", "b.txt": "-r a.txt"})


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6))
@example(["0_"])  # a requirement to packaging's parser, and no name to its canonicalize_name
def test_any_text_gives_requirements_or_our_error(lines: list[str]) -> None:
    try:
        found = stated("\n".join(lines))
    except DependencyLockError:
        return
    for line in found:
        requirement = Requirement(line)
        assert requirement.url is None


def test_python_is_chosen_among_what_is_offered() -> None:
    assert choose_python("3.11.7", ["3.11", "3.12"]) == "3.11"
    assert choose_python("3.11.7", ["3.11", "3.12"], override="3.12") == "3.12"
    assert choose_python(None, ["3.9", "3.12", "3.10"]) == "3.12"
    with pytest.raises(BaseImageError, match=r"saved with Python 3\.8\.1.*3\.9, 3\.11"):
        choose_python("3.8.1", ["3.11", "3.9"])
    with pytest.raises(BaseImageError, match="spec asks"):
        choose_python("3.11.7", ["3.11"], override="3.13")
    with pytest.raises(BaseImageError, match="no base image"):
        choose_python("3.11", [])
