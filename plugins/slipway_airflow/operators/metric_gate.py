"""Does the new model go on to deploy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BaseBranchOperator

from slipway.training.gate import Combination, Evidence, GateAction, Improvement, Mode, decide

if TYPE_CHECKING:
    from airflow.sdk import Context


class MetricThresholdBranchOperator(BaseBranchOperator):
    """Branch on metrics: one way when the gate says deploy, another when it says hold.

    Expressions are parsed, never evaluated: ``areaUnderROC >= 0.70``, ``rmse <= champion * 1.02``,
    ``f1 beats champion by 0.01 (95%)``. A metric that is missing or not a number is *hold*.

    .. code-block:: python

        gate = MetricThresholdBranchOperator(
            task_id="gate",
            candidate={"areaUnderROC": 0.81},
            expressions=["areaUnderROC >= 0.70"],
            on_deploy="register",
            on_hold="tell",
        )

    The verdict with every comparison is the XCom ``verdict``, and the reason is in the log.

    :param candidate: The new model's metrics by name. (templated)
    :param champion: The champion's, on the same rows. (templated)
    :param improvements: Paired intervals: ``metric``, ``confidence_pct``, ``low``, ``high``. (templated)
    :param expressions: The gate's expressions. (templated)
    :param mode: ``manual``, ``automatic`` or ``threshold``. (templated, default: threshold)
    :param combination: Whether all expressions must hold, or any. (default: all)
    :param on_deploy: Task that follows *deploy*.
    :param on_hold: Task that follows *hold*.
    """

    template_fields: Sequence[str] = ("candidate", "champion", "improvements", "expressions", "mode")

    def __init__(
        self,
        *,
        candidate: Any,
        champion: Any = None,
        improvements: Any = None,
        expressions: Sequence[str] = (),
        mode: Mode = "threshold",
        combination: Combination = "all",
        on_deploy: str,
        on_hold: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.candidate = candidate
        self.champion = champion
        self.improvements = improvements
        self.expressions = expressions
        self.mode = mode
        self.combination = combination
        self.on_deploy = on_deploy
        self.on_hold = on_hold

    def choose_branch(self, context: Context) -> str:
        """Decide, and write the verdict down."""
        improvements = {
            (each["metric"], float(each["confidence_pct"])): Improvement(
                each["low"], each["high"], float(each["confidence_pct"])
            )
            for each in self.improvements or ()
        }
        evidence = Evidence(self.candidate or {}, self.champion or {}, improvements)
        verdict = decide(self.mode, list(self.expressions), evidence, self.combination)
        for comparison in verdict.comparisons:
            self.log.info("%s", comparison.reason)
        self.log.info("%s: %s", verdict.action.value, verdict.reason)
        document = {**asdict(verdict), "action": verdict.action.value, "mode": self.mode}
        context["ti"].xcom_push(key="verdict", value=document)
        return self.on_deploy if verdict.action is GateAction.DEPLOY else self.on_hold
