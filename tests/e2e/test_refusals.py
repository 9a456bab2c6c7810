"""What cannot be deployed is refused in the first task, with a clear error, and nothing is changed."""

import pytest

from slipway.errors import InvalidParamsError, UnknownServiceError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("conf", "error", "said"),
    [
        ({"model_version": "99"}, "ModelNotFoundError", ["tiny", "99"]),
        ({"model_version": "no-such-alias"}, "ModelNotFoundError", ["no-such-alias"]),
        ({"model_version": "run:0123456789abcdef0123456789abcdef"}, "ModelNotFoundError", ["0123456789abcdef"]),
        ({"model_versoin": "1"}, "InvalidParamsError", ["model_versoin", "model_version", "overrides"]),
        ({"overrides": {"instance_type": "t2.micro"}}, "InvalidParamsError", ["t2.micro", "ml.m5.large"]),
    ],
    ids=["version", "alias", "run", "field", "value"],
)
def test_a_run_that_asks_for_what_is_not_there(world, conf, error, said) -> None:
    world.register("tiny")
    since = world.position()

    run = world.finished(world.trigger("tiny.deploy", **conf), seconds=120)

    tasks, [message] = world.tasks(run), world.errors(run).values()
    assert run.state == "failed"
    assert tasks["resolve_model"].state == "failed"
    assert tasks["resolve_model"].try_number == 1, "what cannot succeed is not tried again"
    assert tasks["announce"].state == "upstream_failed"
    assert message.startswith(error)
    for part in said:
        assert part in message
    assert world.changes(since) == []


def test_a_model_without_signature(world) -> None:
    world.register("unsigned", signature=False)

    run = world.finished(world.trigger("unsigned.deploy"), seconds=120)

    assert "ModelNotDeployableError" in world.errors(run)["resolve_model"]
    assert "signature" in world.errors(run)["resolve_model"]
    assert "unsigned-dev" not in world.endpoints()


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"reason": 7}, "7"),
        ({"overrides": {"instance_cuont": 2}}, "instance_cuont"),
        ({"model_version": ""}, "model_version"),
    ],
)
def test_a_value_that_the_form_does_not_take_never_becomes_a_run(world, conf, named) -> None:
    world.register("tiny")
    world.until(lambda: "tiny.deploy" in {dag.dag_id for dag in world.airflow.dags()}, 60)
    before = world.airflow.dag_runs("tiny.deploy")

    with pytest.raises(InvalidParamsError, match=named):
        world.airflow.trigger("tiny.deploy", conf)
    assert world.airflow.dag_runs("tiny.deploy") == before


def test_a_service_that_nobody_declared(world) -> None:
    with pytest.raises(UnknownServiceError, match=r"services: .*flights.*tiny"):
        world.airflow.trigger("filghts.deploy")


def test_a_spec_that_is_not_valid_shows_its_error_and_hides_nobody(world) -> None:
    spec = world.settings.project / "services" / "broken.yaml"
    spec.write_text("name: broken\nmodel: broken\nowner: tests@example.com\nstagse: {}\n")
    try:
        dags = world.until(
            lambda: (
                {d.dag_id for d in world.airflow.dags() if not d.has_import_errors} >= {"broken.invalid"}
                and {d.dag_id for d in world.airflow.dags() if not d.has_import_errors}
            ),
            seconds=90,
        )
        assert {"broken.invalid", "tiny.deploy", "tiny.promote", "flights.deploy", "flights.promote"} <= dags
        assert "broken.deploy" not in dags
    finally:
        spec.unlink()
