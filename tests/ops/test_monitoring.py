"""The configuration of monitoring holds together: its tools accept it, and it speaks of nothing that is not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.metrics import TABLE
from stream.topics import Topic
from tests.support.promql import OF_THE_SCRAPE, exported, groupings, selectors
from tests.support.tools import said_by
from trainer.journal import Outcome
from trainer.metrics import TABLE as TRAINER_TABLE
from vitals.conditions import Kind, Priority
from vitals.errors import Reason
from vitals.events import JUDGEMENTS, DriftKind

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
RULE_FILES = sorted((MONITORING / "rules").glob("*.yml"))
TEST_FILES = sorted((MONITORING / "tests").glob("*.yml"))
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))

WORDS: dict[str, frozenset[str]] = {
    "topic": frozenset(Topic),
    "reason": frozenset(Reason),
    "priority": frozenset(Priority),
    "kind": frozenset(Kind) | frozenset(DriftKind),
    "outcome": frozenset({"scored", "dropped", "dead_lettered"}),
    "half": frozenset({"ecg", "glucose", "imaging", "decide"}),
    "stream": frozenset({"ecg", "glucose", "imaging", "decide"}),
    "rung": frozenset({"tensorrt", "onnx-cuda", "onnx-cpu", "rules"}),
    "judged": frozenset(JUDGEMENTS),
    "scope": frozenset({"bed", "ward"}),
    "job": frozenset({"worker", "self-test", "strips", "trainer"}),
    "ended": frozenset(Outcome),
}
"""The words that the service writes into a label, where they are a closed set."""


def _rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


ALERTS = [rule for rule in _rules() if "alert" in rule]
RECORDED = {rule["record"]: rule for rule in _rules() if "record" in rule}


def _dashboard_queries() -> list[tuple[str, str]]:
    return [
        (f"{path.name}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]


RULE_QUERIES = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in _rules()]
QUERIES = RULE_QUERIES + _dashboard_queries()


def test_promtool_accepts_the_scrape_configuration_and_its_rules() -> None:
    assert f"{len(RULE_FILES)} rule files found" in said_by(
        "promtool", "check", "config", MONITORING / "prometheus.yml"
    )


def test_every_rule_fires_where_it_should_and_stays_quiet_where_it_should() -> None:
    said = said_by("promtool", "test", "rules", *TEST_FILES)
    assert said.count("SUCCESS") == len(TEST_FILES) == 9


def test_promtool_finds_a_rule_that_does_not_do_what_its_test_says(tmp_path: Path) -> None:
    """The gate above can fail: with a limit altered, it does."""
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
        shutil.copy(MONITORING / folder / "safety.yml", tmp_path / folder)
    rules = tmp_path / "rules" / "safety.yml"
    written = rules.read_text(encoding="utf-8")
    altered = written.replace('{priority="high"}) > 0', '{priority="high"}) > 5')
    assert altered != written
    rules.write_text(altered, encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="AlarmUnacknowledged"):
        said_by("promtool", "test", "rules", tmp_path / "tests" / "safety.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_tested_to_fire_and_to_stay_quiet(alert: dict[str, Any]) -> None:
    cases = [
        case
        for path in TEST_FILES
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert["alert"]
    ]
    assert any(case.get("exp_alerts") for case in cases), "never seen to fire"
    if alert["expr"] != "vector(1)":
        assert any(not case.get("exp_alerts") for case in cases), "never seen to stay quiet"


def test_what_every_alert_does_without_a_single_series_is_tested() -> None:
    (test,) = yaml.safe_load((MONITORING / "tests" / "absent.yml").read_text(encoding="utf-8"))["tests"]
    assert "input_series" not in test
    fires = {case["alertname"]: bool(case.get("exp_alerts")) for case in test["alert_rule_test"]}
    assert fires.keys() == {alert["alert"] for alert in ALERTS}
    assert {name for name, it_fires in fires.items() if it_fires} == {
        "Watchdog",
        *(alert["alert"] for alert in ALERTS if alert["expr"].startswith("absent(")),
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_grave_it_is_and_where_its_runbook_is(alert: dict[str, Any]) -> None:
    severity = alert["labels"]["severity"]
    assert severity in {"page", "ticket"} or alert["alert"] == "Watchdog"
    assert alert["annotations"]["summary"]
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert anchor == alert["alert"].lower()
    assert anchor in [heading.lower() for heading in headings]


def test_the_runbook_has_no_page_for_an_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    alerts_part = text.split("\n## Alerts\n")[1].split("\n## ")[0]
    headings = re.findall(r"^### (.+)$", alerts_part, flags=re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in ALERTS)


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_speaks_only_of_series_and_labels_that_the_table_has(where: str, query: str) -> None:
    series = exported()
    found = selectors(query)
    assert found or query == "vector(1)", where
    for selector in found:
        if selector.name in RECORDED:
            assert not selector.matchers, "a recorded series is read whole here"
            continue
        assert selector.name in series, f"{selector.name} is not exported"
        for label, operator, value in selector.matchers:
            assert label in series[selector.name], f"{selector.name} has no label {label}"
            for word in value.split("|") if operator.endswith("~") else [value]:
                assert label not in WORDS or word in WORDS[label], f"{label} is never {word}"
    spoken_of = set().union(*(_labels_of(selector.name) for selector in found)) if found else set()
    assert groupings(query) <= spoken_of | OF_THE_SCRAPE | {"half"}


def _labels_of(name: str) -> frozenset[str] | set[str]:
    return groupings(RECORDED[name]["expr"]) if name in RECORDED else exported()[name]


def test_a_metric_that_is_not_in_the_table_would_be_found() -> None:
    assert [s.name for s in selectors('rate(wardwatch_events_total{stream="ecg"}[5m]) / wardwatch_typo')] == [
        "wardwatch_events_total",
        "wardwatch_typo",
    ]
    assert "wardwatch_typo" not in exported()
    assert groupings("sum by (patient) (up)") == {"patient"}


def test_promtool_can_read_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": query} for i, (_, query) in enumerate(_dashboard_queries())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in said_by("promtool", "check", "rules", path)


def test_every_metric_of_the_table_is_looked_at_by_a_rule_or_a_panel() -> None:
    looked_at = {selector.name for _, query in QUERIES for selector in selectors(query)}
    shown = {row.name for row in TABLE if {row.name, f"{row.name}_bucket"} & looked_at}
    assert {row.name for row in TABLE} == shown
    assert looked_at >= TRAINER_TABLE.keys()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_takes_its_data_from_the_provisioned_source(path: Path) -> None:
    provisioned = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} <= uids
    for panel in panels:
        area = panel["gridPos"]
        assert area["x"] + area["w"] <= 24


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=WardAlarm", "source=ward", "priority=high", "alert_id=a"), "bedside"),
        (("alertname=WardAlarm", "source=ward", "priority=low", "alert_id=a"), "bedside"),
        (("alertname=WardAlarmMuted", "source=ward", "alert_id=a"), "nobody"),
        (("alertname=Watchdog", "severity=none"), "dead-man"),
        (("alertname=WardSelfTest", "source=ward-self-test", "partition=3"), "dead-man"),
        (("alertname=WorkerDown", "severity=page"), "operators"),
        (("alertname=DeadLetters", "severity=ticket"), "operators"),
        (("alertname=SomethingElse",), "operators"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0].partition("=")[2],
)
def test_alertmanager_routes_what_arrives(labels: tuple[str, ...], receiver: str) -> None:
    file = f"--config.file={MONITORING / 'alertmanager.yml'}"
    assert said_by("amtool", "config", "routes", "test", file, *labels).strip() == receiver


def test_amtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in said_by("amtool", "check-config", MONITORING / "alertmanager.yml")


def test_a_cause_silences_only_alerts_that_there_are_and_never_its_own_cause() -> None:
    rules = yaml.safe_load((MONITORING / "alertmanager.yml").read_text(encoding="utf-8"))["inhibit_rules"]
    silences: set[tuple[str, str]] = set()
    for rule in rules:
        if any('source="ward"' in matcher for matcher in rule["target_matchers"]):
            continue
        causes, effects = (_named_by(rule[side]) for side in ("source_matchers", "target_matchers"))
        assert causes
        assert effects
        silences |= {(cause, effect) for cause in causes for effect in effects}
    assert not {(a, b) for a, b in silences if (b, a) in silences}, "each of two would silence the other"
    assert "Watchdog" not in {effect for _, effect in silences}
    follows = {effect for cause, effect in silences if cause == "BrokerDown"}
    assert {"WorkersAbsent", "NoProgress", "DeadMan", "NotifyBacklog", "AlarmsBudgetBurning"} <= follows
    assert not {"AlarmUnacknowledged", "ModelsAbsent", "SelfTestAbsent"} & follows


def _named_by(matchers: list[str]) -> set[str]:
    """The alerts that a matcher on ``alertname`` speaks of; its words have to be names of some."""
    (named,) = (matcher for matcher in matchers if matcher.startswith("alertname"))
    operator, pattern = re.fullmatch(r'alertname(!~|=~|=)"(.+)"', named).groups()  # type: ignore[union-attr]
    names = {alert["alert"] for alert in ALERTS}
    for word in pattern.split("|") if "(" not in pattern else ():
        assert any(re.fullmatch(word, name) for name in names), word
    matched = {name for name in names if re.fullmatch(pattern, name)}
    return names - matched if operator == "!~" else matched


def test_no_fault_of_the_service_can_quieten_an_alarm_of_a_patient() -> None:
    rules = yaml.safe_load((MONITORING / "alertmanager.yml").read_text(encoding="utf-8"))["inhibit_rules"]
    for rule in rules:
        about_the_ward = any('source="ward"' in matcher for matcher in rule["target_matchers"])
        if about_the_ward:
            assert 'source="ward"' in rule["source_matchers"]
            assert rule["equal"] == ["alert_id"]
        else:
            # a clinical alarm has no severity, so a matcher that asks for one never meets it
            assert 'severity=~"page|ticket"' in rule["target_matchers"]
