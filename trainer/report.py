"""One HTML page about runs: how they learnt, what they can do, what the gate said, and where they were worst.

Plots are in the page itself: it can be mailed. People of a ward are counted, never named; nothing of theirs is shown.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from trainer.card import public_and_ward
from trainer.cases import Case, Curve
from trainer.ec57 import COLUMNS
from trainer.evaluate import FEWEST_OF_GROUP, MAIN_MEASURE, Evaluation, Subgroup
from trainer.examples import WARD
from trainer.measures import CLARKE_ZONES
from trainer.runs import Run
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, Task
from vitals.units import S_PER_MIN, US_PER_S
from vitals.windows.ecg import RATE_HZ
from vitals.windows.glucose import STEP_US

mpl.use("agg")

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2530 }
h2 { margin-top: 3rem; border-top: 1px solid #ccd3da; padding-top: 1rem }
.plots { display: flex; flex-wrap: wrap; gap: 1rem } img { max-width: 100%; height: auto }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .7rem; border-bottom: 1px solid #e3e7eb;
text-align: left; vertical-align: top } .failed { color: #b3261e; font-weight: 600 } .passed { color: #1b6e3c }
"""
_CHALLENGER, _CHAMPION, _IDEAL = "#1f6feb", "#8a939c", "#c9d1d9"
_SIZE_INCHES: Final = (4.6, 3.4)
_MOST_PEOPLE: Final = 40
_ROW_INCHES: Final = 0.14
_CASES_A_ROW: Final = 4
_CASE_INCHES: Final = (3.2, 2.1)
_CLASS_COLOURS: Final = ("#1f6feb", "#d1720f", "#b3261e", "#7d3fc4", "#1b6e3c")
_ZONE_COLOURS: Final = ("#1b6e3c", "#8bbf6a", "#e6b422", "#d1720f", "#b3261e")
_MV_APART: Final = 2.0


def page(runs: Sequence[Run]) -> str:
    """A whole, self-contained HTML page about ``runs``."""
    sections = "\n".join(_section(run) for run in runs)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Wardwatch training report</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Wardwatch training report</h1>\n"
        "<p>Figures are of held-out people, whom no model compared here has learnt from. Bars and brackets are 95 % "
        "intervals by bootstrap over people. People of a ward are in the figures only. Not a medical device.</p>\n"
        f"{sections}\n</body></html>\n"
    )


def _section(run: Run) -> str:
    plots = [_plot("Learning", lambda f: _curves(f, run))]
    if run.task is Task.GLUCOSE:
        plots += [
            _plot("Error by horizon", lambda f: _errors(f, run)),
            _plot("Do the intervals cover?", lambda f: _coverage(f, run)),
            _plot("Onset of low and high", lambda f: _onsets(f, run)),
            _plot("Clarke's error grid by horizon", lambda f: _zones(f, run.challenger)),
        ]
    else:
        plots += [
            _plot("What was called what", lambda f: _confusion(f, run.challenger)),
            _plot("Do the probabilities mean what they say?", lambda f: _reliability(f, run)),
            _plot("Per class", lambda f: _per_class(f, run)),
        ]
    if (shown := run.challenger.pictures) is not None:
        plots += [
            _plot("ROC", lambda f: _lines(f, run, "roc", "false positive rate", "sensitivity")),
            _plot("Precision and sensitivity", lambda f: _lines(f, run, "pr", "sensitivity", "precision")),
        ]
    if len(run.challenger.per_person) <= 2 * _MOST_PEOPLE and run.task in (Task.ECG_BEAT, Task.GLUCOSE):
        rows = min(len(run.challenger.per_person), _MOST_PEOPLE)
        inches = (_SIZE_INCHES[0], max(_SIZE_INCHES[1], _ROW_INCHES * rows))
        plots.append(_plot("Per person", lambda f: _per_person(f, run), inches))
    began = datetime.fromtimestamp(run.began_us / US_PER_S, UTC).strftime("%Y-%m-%d %H:%M UTC")
    ended = f"released as <code>{run.bundle[:12]}</code>" if run.bundle else "not released"
    sides = ", ".join(f"{html.escape(side)} {people} people / {n} windows" for side, (people, n) in run.sides.items())
    return (
        f'<h2 id="{run.task}">{run.task}</h2>\n'
        f"<p>{began}, {(run.ended_us - run.began_us) / US_PER_S:.0f} s, dataset <code>{run.dataset[:12]}</code>: "
        f"{sides}. Best epoch {run.best_epoch}; {ended}.</p>\n"
        f'<div class="plots">{"".join(plots)}</div>\n{_gate_table(run)}\n{_subgroup_table(run)}\n'
        f"{_beat_table(run)}\n{_worst(run.task, [] if shown is None else shown.cases)}\n{_figures_table(run)}"
    )


def _plot(title: str, draw: Callable[[Figure], None], inches: tuple[float, float] = _SIZE_INCHES) -> str:
    figure = Figure(figsize=inches, dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=11)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'


def _curves(figure: Figure, run: Run) -> None:
    loss, score = figure.subplots(2, 1, sharex=True)
    for name in dict.fromkeys(epoch.run for epoch in run.curve):
        of_run = [epoch for epoch in run.curve if epoch.run == name]
        loss.plot([e.epoch for e in of_run], [e.loss for e in of_run], marker=".", label=name)
        if any(e.score for e in of_run):
            score.plot([e.epoch for e in of_run], [e.score for e in of_run], marker=".", label=name)
    score.axvline(run.best_epoch, color=_IDEAL, zorder=0)
    loss.set_ylabel("training loss")
    score.set_ylabel("validation score")
    score.set_xlabel("epoch")
    loss.legend(fontsize=7)


def _confusion(figure: Figure, evaluation: Evaluation) -> None:
    axes = figure.subplots()
    counts = np.array(evaluation.confusion)
    rows = [*evaluation.classes, "no beat"]
    if not counts[-1].any():
        counts, rows = counts[:-1], rows[:-1]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if share[row, column] > 0.5 else "black"
        )
    axes.set_xticks(range(len(evaluation.classes)), evaluation.classes)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("called")
    axes.set_ylabel("was")


def _reliability(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_IDEAL)
    for evaluation, colour, label in _both(run):
        bins = np.array(evaluation.reliability)
        there = bins[:, 0] > 0
        weight, told, right = bins[there].T
        axes.plot(told / weight, right / weight, marker="o", markersize=4, color=colour, label=label)
    axes.set_xlabel("probability of the class called")
    axes.set_ylabel("share that was right")
    axes.legend(fontsize=8)


def _per_class(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    names = [f"{what} {name}" for name in run.challenger.classes for what in ("Se", "+P")]
    keys = [f"{what}_{name}" for name in run.challenger.classes for what in ("se", "pp")]
    _bars(figure, axes, run, names, keys)
    axes.set_ylim(0, 1.02)


def _errors(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    for evaluation, colour, label in _both(run):
        keys = [f"rmse_{minutes:02d}" for minutes in FORECAST_HORIZONS_MIN]
        axes.plot(FORECAST_HORIZONS_MIN, [evaluation.metrics[k] for k in keys], marker=".", color=colour, label=label)
        low, high = zip(*(evaluation.interval[k] for k in keys), strict=True)
        axes.fill_between(FORECAST_HORIZONS_MIN, low, high, color=colour, alpha=0.15)
    stays = [run.challenger.metrics[f"persistence_rmse_{minutes:02d}"] for minutes in FORECAST_HORIZONS_MIN]
    axes.plot(FORECAST_HORIZONS_MIN, stays, color="black", linestyle=":", label="no change")
    axes.set_xlabel("minutes ahead")
    axes.set_ylabel("RMSE mg/dL")
    axes.legend(fontsize=8)


def _coverage(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    for percent in (90, 50):
        axes.axhline(percent / 100, color=_IDEAL, zorder=0)
        for evaluation, colour, label in _both(run):
            values = [evaluation.metrics[f"coverage{percent}_{minutes:02d}"] for minutes in FORECAST_HORIZONS_MIN]
            axes.plot(FORECAST_HORIZONS_MIN, values, marker=".", color=colour, label=label if percent == 90 else None)
    axes.set_xlabel("minutes ahead")
    axes.set_ylabel("share inside the interval")
    axes.set_ylim(0.3, 1)
    axes.legend(fontsize=8)


def _onsets(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    cells = [(limit, minutes) for limit in FORECAST_LIMITS for minutes in (30, 60)]
    cells = [cell for cell in cells if f"auroc_onset_{cell[0]}_{cell[1]}" in run.challenger.metrics]
    names = [f"{limit.replace('_', ' ')}, {minutes} min" for limit, minutes in cells]
    _bars(figure, axes, run, names, [f"auroc_onset_{limit}_{minutes}" for limit, minutes in cells])
    axes.set_ylim(0.5, 1.0)
    axes.set_ylabel("AUROC")


def _zones(figure: Figure, evaluation: Evaluation) -> None:
    axes = figure.subplots()
    if evaluation.pictures is None:
        return
    below = np.zeros(len(FORECAST_HORIZONS_MIN))
    # zone A is most of it: from 70 of a hundred on, what matters can be seen
    for zone, share, colour in zip(CLARKE_ZONES, np.array(evaluation.pictures.zones).T, _ZONE_COLOURS, strict=True):
        axes.bar(FORECAST_HORIZONS_MIN, 100 * share, 4, bottom=100 * below, color=colour, label=zone)
        below += share
    axes.set_ylim(70, 100)
    axes.set_xlabel("minutes ahead")
    axes.set_ylabel("share of forecasts, %")
    figure.legend(fontsize=7, loc="outside lower center", ncols=len(CLARKE_ZONES))


def _lines(figure: Figure, run: Run, which: str, x: str, y: str) -> None:
    axes = figure.subplots()
    for (evaluation, _, label), style in zip(_both(run), ("-", ":"), strict=False):
        if evaluation.pictures is None:
            continue
        curves: dict[str, Curve] = getattr(evaluation.pictures, which)
        for (name, curve), colour in zip(curves.items(), _CLASS_COLOURS, strict=False):
            named = f"{name.replace('_', ' ')}{'' if style == '-' else f' ({label})'}"
            axes.plot(curve.x, curve.y, style, color=colour, linewidth=1.2, label=named)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=6)


def _worst(task: Task, cases: list[Case]) -> str:
    if not cases:
        return ""
    rows = -(-len(cases) // _CASES_A_ROW)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(rows, _CASES_A_ROW, squeeze=False).ravel()
        for axes, case in zip(grid, cases, strict=False):
            _CASE_OF.get(task, _thumbnail)(axes, case)
            axes.set_title(case.title, fontsize=7)
            axes.tick_params(labelsize=6)
        for axes in grid[len(cases) :]:
            axes.set_axis_off()

    width, height = _CASE_INCHES
    about = {
        Task.ECG_BEAT: "The beat in the middle, its leads one above the other, mV; the surest mistakes of each kind.",
        Task.GLUCOSE: "Four hours of readings, what came (black), the forecast and its 90 % interval (blue), mg/dL.",
    }.get(task, "The surest mistakes of each kind.")
    plot = _plot("Worst cases", draw, (_CASES_A_ROW * width, rows * height + 0.4))
    return f"<h3>Worst cases of public records</h3><p>{about}</p>{plot}"


def _strip(axes: mpl.axes.Axes, case: Case) -> None:
    seconds = np.arange(len(case.rows[0])) / RATE_HZ
    for at, lead in enumerate(case.rows):
        axes.plot(seconds, np.array(lead, dtype=float) - at * _MV_APART, color="black", linewidth=0.8)
    axes.set_yticks([])
    axes.grid(color="#f0c8c4", linewidth=0.4)


def _trace(axes: mpl.axes.Axes, case: Case) -> None:
    readings = np.array(case.rows[0], dtype=float)
    step_min = STEP_US / (S_PER_MIN * US_PER_S)
    ahead = np.array(FORECAST_HORIZONS_MIN)
    axes.plot(step_min * np.arange(1 - len(readings), 1), readings, ".", color="#57606a", markersize=2)
    axes.plot(ahead, np.array(case.future, dtype=float), color="black", linewidth=1.2)
    axes.plot(ahead, case.mean, color=_CHALLENGER, linewidth=1.2)
    axes.fill_between(ahead, case.low, case.high, color=_CHALLENGER, alpha=0.2)
    axes.axhspan(*_IN_RANGE_MG_DL, color="#1b6e3c", alpha=0.06)


def _thumbnail(axes: mpl.axes.Axes, case: Case) -> None:
    axes.imshow(np.array(case.rows, dtype=float), cmap="gray")
    axes.set_xticks([])
    axes.set_yticks([])


_CASE_OF: Final = {Task.ECG_BEAT: _strip, Task.GLUCOSE: _trace}
_IN_RANGE_MG_DL: Final = (70.0, 180.0)


def _per_person(figure: Figure, run: Run) -> None:
    axes = figure.subplots()
    public, ward = public_and_ward(tuple(run.challenger.per_person))
    values = sorted((run.challenger.per_person[name], name.rpartition("/")[2]) for name in public)[-_MOST_PEOPLE:]
    axes.barh([name for _, name in values], [value for value, _ in values], color=_CHALLENGER)
    axes.tick_params(axis="y", labelsize=6 if len(values) > 12 else 8)
    axes.set_xlabel("RMSE at 30 min, mg/dL" if run.task is Task.GLUCOSE else "accuracy")
    if ward:
        axes.set_title(f"and {ward} people of the ward, not named", fontsize=8)


def _bars(figure: Figure, axes: mpl.axes.Axes, run: Run, names: list[str], keys: list[str]) -> None:
    every = _both(run)
    place = np.arange(len(keys))
    width = 0.8 / len(every)
    for at, (evaluation, colour, label) in enumerate(every):
        values = np.array([evaluation.metrics.get(key, np.nan) for key in keys])
        low, high = np.array([evaluation.interval.get(key, (v, v)) for key, v in zip(keys, values, strict=True)]).T
        error = np.nan_to_num(np.maximum([values - low, high - values], 0.0))
        axes.bar(place + at * width, values, width, yerr=error, color=colour, label=label, error_kw={"lw": 0.8})
    axes.set_xticks(place + 0.4 - width / 2, names, rotation=60, ha="right", fontsize=7)
    figure.legend(fontsize=7, loc="outside lower center", ncols=2)


def _both(run: Run) -> list[tuple[Evaluation, str, str]]:
    both = [(run.challenger, _CHALLENGER, "challenger")]
    return both if run.champion is None else [*both, (run.champion, _CHAMPION, f"champion {run.champion_bundle[:8]}")]


def _gate_table(run: Run) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(verdict.rule)}</td>"
        f'<td class="{"passed" if verdict.passed else "failed"}">{"passed" if verdict.passed else "failed"}</td>'
        f"<td>{html.escape(verdict.text)}</td></tr>"
        for verdict in run.verdicts
    )
    refused = [verdict.rule for verdict in run.verdicts if not verdict.passed]
    ended = f"Refused by: {html.escape(', '.join(refused))}." if refused else "Every rule passed."
    return f"<h3>Gate</h3><p>{ended}</p><table>{rows}</table>"


def _subgroup_table(run: Run) -> str:
    sides = [{group.trait: group for group in evaluation.subgroups} for evaluation, _, _ in _both(run)]
    if not sides[0]:
        return f"<h3>Subgroups</h3><p>None has {FEWEST_OF_GROUP[0]} held-out people without being all of them.</p>"
    head = "".join(f"<th>{label}</th>" for _, _, label in _both(run))
    rows = ""
    for trait, group in sides[0].items():
        cells = "".join(f"<td>{_of_group(side.get(trait))}</td>" for side in sides)
        rows += f"<tr><td>{html.escape(trait)}</td><td>{group.people}</td><td>{group.examples}</td>{cells}</tr>"
    return (
        f"<h3>Subgroups: {MAIN_MEASURE[run.task]}</h3>"
        f"<table><tr><th></th><th>people</th><th>windows</th>{head}</tr>{rows}</table>"
    )


def _of_group(group: Subgroup | None) -> str:
    return "–" if group is None else f"{group.value:.3f} [{group.interval[0]:.3f}, {group.interval[1]:.3f}]"


def _beat_table(run: Run) -> str:
    rows = [row for row in run.challenger.beats if not row.record.startswith(WARD)]
    if not rows:
        return ""
    body = ""
    for row in rows:
        values = ("–" if (value := getattr(row, key)) is None else f"{100 * value:.2f}" for key in COLUMNS)
        cells = "".join(f"<td>{value}</td>" for value in values)
        body += f"<tr><td>{html.escape(row.record)}</td><td>{row.beats}</td>{cells}</tr>"
    head = "".join(f"<th>{name}</th>" for name in ("", "beats", *COLUMNS.values()))
    return f"<h3>Beats by record, % (ANSI/AAMI EC57)</h3><table><tr>{head}</tr>{body}</table>"


def _figures_table(run: Run) -> str:
    first = MAIN_MEASURE[run.task]
    names = sorted(run.challenger.metrics, key=lambda name: (name != first, name))
    rows = []
    for name in names:
        cells = [_cell(evaluation, name) for evaluation, _, _ in _both(run)]
        rows.append(f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{label}</th>" for _, _, label in _both(run))
    return f"<details><summary>All figures</summary><table><tr><th></th>{head}</tr>{''.join(rows)}</table></details>"


def _cell(evaluation: Evaluation, name: str) -> str:
    value = evaluation.metrics.get(name)
    if value is None:
        return "–"
    interval = evaluation.interval.get(name)
    return f"{value:.4f}" if interval is None else f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"
