"""What people see in Airflow: the form, the question to the approver, the graphs. Pictures in var/screenshots."""

import re
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(1200)]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURES = Path(__file__).resolve().parents[2] / "var" / "screenshots"


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # as root it has none
        yield browser
        browser.close()


@pytest.fixture
def log_in(world, chromium):
    contexts = []

    def log_in(user: str):
        context = chromium.new_context(viewport={"width": 1400, "height": 900}, base_url=world.settings.airflow_url)
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto("/auth/login")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", user)
        page.keyboard.press("Enter")
        page.wait_for_url("**/")
        return page

    yield log_in
    for context in contexts:
        context.close()


def picture(page, name: str) -> None:
    page.wait_for_timeout(1500)  # what fades in is there then
    page.screenshot(path=PICTURES / f"{name}.png")


def test_the_trigger_form_has_few_fields_with_words(world, log_in) -> None:
    world.register("seen")
    world.until(lambda: "seen.deploy" in {dag.dag_id for dag in world.airflow.dags()}, 60)
    page = log_in("admin")
    page.goto("/dags/seen.deploy")
    page.get_by_role("button", name=re.compile("^Trigger")).first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("Reason").first.wait_for()
    picture(page, "trigger-form")

    text = form.inner_text()
    for label in ("Model version", "Reason", "Overrides"):
        assert label in text, text
    assert form.locator("[name^='element_']").count() <= 4
    assert form.get_by_role("button", name="Trigger", exact=True).is_enabled(), "Trigger works without any change"
    assert "candidate" in [each.input_value() for each in form.locator("input[name^='element_']").all()]


def test_the_approver_reads_the_report_says_why_and_the_run_goes_on(world, log_in) -> None:
    world.register("seen")
    run = world.trigger("seen.deploy", reason="for the browser")
    world.waiting(run)
    page = log_in("approver")
    page.goto(f"/dags/seen.deploy/runs/{run.run_id}/tasks/approve/required_actions")
    page.get_by_role("button", name="Approve").first.wait_for()
    picture(page, "approval")

    text = page.inner_text("body")
    for part in ("Put release", "into production?", "Answers to JSON equal the original model's", "p99", "Reason"):
        assert part in text, text
    reason = page.locator("[name='element_reason']")
    assert reason.input_value() == "", "the run's own reason is not the approver's"
    reason.fill("read in a browser")
    page.wait_for_timeout(3000)  # an answer within a second of the question can fail its task
    page.get_by_role("button", name="Approve").first.click()

    assert world.finished(run).state == "success"
    approvals = [entry for entry in world.ledger.read("seen") if entry.action == "approved"]
    assert (approvals[-1].user, approvals[-1].reason) == ("approver", "read in a browser")


@pytest.mark.parametrize("dag", ["seen.deploy", "seen.promote"])
def test_the_graph_shows_every_task_by_name(world, log_in, dag) -> None:
    page = log_in("admin")
    page.goto(f"/dags/{dag}")
    page.get_by_label("Show Graph").click()
    page.locator(".react-flow__node").first.wait_for()
    picture(page, f"graph-{dag}")

    tasks = {"seen.deploy": ["resolve_model", "announce"], "seen.promote": ["record", "finish", "roll_back"]}[dag]
    graph = page.locator(".react-flow").inner_text()
    for task in tasks:
        assert task in graph


def test_the_dags_page_explains_itself(world, log_in) -> None:
    page = log_in("admin")
    page.goto("/dags/seen.deploy")
    page.get_by_label("Dag Docs").click()
    page.get_by_text("deploys the version that carries the alias").first.wait_for()
    picture(page, "dag-page")


def test_the_asset_leads_from_deploy_to_promote(world, log_in) -> None:
    page = log_in("admin")
    page.goto("/assets")
    page.get_by_text("approved/seen").first.click()
    page.locator(".react-flow__node").first.wait_for()
    picture(page, "asset-graph")

    graph = page.locator(".react-flow").inner_text()
    assert "seen.deploy" in graph
    assert "seen.promote" in graph
