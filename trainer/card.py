"""The card of a bundle: what it is for, what it learnt from, what was measured and on whom, what it is not for.

Everything in it comes from the run itself; people of a hospital are counted, never named.
"""

from __future__ import annotations

from typing import Final

import msgspec

from models.spec import Manifest
from trainer.config import Recipe
from trainer.dataset import Dataset, Examples, Side
from trainer.ec57 import AVERAGE, COLUMNS, GROSS
from trainer.evaluate import ALARM_BUDGET, ALARM_OF, FEWEST_OF_GROUP, MAIN_MEASURE, Evaluation
from trainer.examples import WARD
from trainer.gate import Verdict
from trainer.train import Trained
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, Task

_TITLE: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "Beats of an ECG: N S V F Q (ANSI/AAMI EC57)",
    Task.GLUCOSE: "Glucose in the next hour",
    Task.PNEUMONIA: "Pneumonia on a chest radiograph",
    Task.BREAST: "Malignancy on a breast ultrasound image",
    Task.ECG_AF: "Rhythm of the last beats: sinus, atrial fibrillation, other, too noisy",
}

_ABOUT: Final[dict[Task, str]] = {
    Task.ECG_BEAT: """\
Input: one or two leads of 192 samples at 250 Hz around an R peak that our own detector found, and the intervals
around it. Reference beats are matched to detections within 150 ms. N = N L R e j, S = A a J S, V = V E, F = F,
Q = / f Q (nodal escapes count as N). Sensitivity counts beats that the detector missed as missed. In +P of V a
fusion or unclassifiable beat called V counts neither way, nor does an unclassifiable one called S (EC57); a
detection where there is no beat does count. The paced records 102 104 107 217 teach Q and nothing else.

Known limits: F and Q are rare and come from few people: do not rely on them. S in atrial fibrillation is not
told from N by one beat. Trained on ambulatory leads of the 1970s (MLII, V1, V5 …).""",
    Task.GLUCOSE: """\
Input: the last four hours of one continuous glucose monitor on a five-minute grid. Output: mean and quantiles
at 5 to 60 min, and the probability of being beyond 70, 54, 180 and 250 mg/dL at each horizon. It knows nothing
of meals, insulin or movement, and cannot foresee them. The reference is the later reading of the same monitor,
not a blood value. Onset figures count only windows whose last reading has not crossed the limit.

D1NAMO is left out where GlucoBench's Dubosson set is there: they are the same people.""",
    Task.PNEUMONIA: """\
Input: a frontal chest radiograph as a 28 x 28 grey square. Trained on PneumoniaMNIST (children of one to five
years at one hospital). MedMNIST names no patients, so two images of one child may lie on both sides of the
split: figures here can flatter. Its official test images, which come from another source than its validation
images, are known to be harder (published: AUC 0.95 to 0.97 there at this size). 28 x 28 pixels show no fine
detail: a hint for the order of reading, never a diagnosis.""",
    Task.BREAST: """\
Input: a breast ultrasound image as a 28 x 28 grey square. Trained on BreastMNIST (546 images, one hospital;
benign and normal are one class). Class 0 is malignant; sensitivity is for malignancy. MedMNIST names no
patients, so two images of one woman may lie on both sides of the split. The set is small: see the width of the
intervals. A hint for the order of reading, never a diagnosis.""",
    Task.ECG_AF: """\
Input: the last 64 beats that our own detector found within 64 s, each as its interval, its likeness to the usual
beat and the shape of what precedes its QRS, and how much of the signal could be read. Trained on the recordings of
a hand-held lead of 9 to 61 s (CinC Challenge 2017), whose classes are unevenly common here and otherwise at a
bedside. One label stands for a whole recording. "Other" is everything from ectopic beats to flutter.""",
}

_SOURCES: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "MIT-BIH Arrhythmia Database (Moody & Mark 2001; PhysioNet, ODC-By 1.0), the 22 records of DS1 and "
    "the four paced ones. No record of DS2 was read.",
    Task.GLUCOSE: "GlucoBench (Sergazinov 2024): iglu/Broll (GPL-2), Colas (CC BY), Dubosson (CC BY-SA 4.0); "
    "Glucose-ML (Prioleau 2025): AZT1D, BIGIDEAs, HUPA-UCM, T1D-UOM (CC BY 4.0 / ODC-By), PhysioCGM (CC0).",
    Task.PNEUMONIA: "PneumoniaMNIST (Yang 2023, Kermany 2018; CC BY 4.0), official training and validation splits.",
    Task.BREAST: "BreastMNIST (Yang 2023, Al-Dhabyani 2020; CC BY 4.0), official training and validation splits.",
    Task.ECG_AF: "PhysioNet/CinC Challenge 2017 (Clifford 2017; ODC-By 1.0), its training set.",
}

WHO: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "people",
    Task.GLUCOSE: "people",
    Task.PNEUMONIA: "images, each of a person of its own as far as is known",
    Task.BREAST: "images, each of a person of its own as far as is known",
    Task.ECG_AF: "recordings, each of a person of its own as far as is known",
}
"""What is held out, drawn and counted."""

_SHOWN_HORIZONS: Final = (15, 30, 45, 60)


def card(
    manifest: Manifest,
    trained: Trained,
    dataset: Dataset,
    recipe: Recipe,
    evaluation: Evaluation,
    verdicts: list[Verdict],
) -> str:
    """The card as Markdown."""
    parts = (
        f"# {_TITLE[dataset.task]}",
        f"Bundle of Wardwatch for `{dataset.task}`, made {manifest.created}. **Not a medical device; never the sole "
        "alarm.**",
        _ABOUT[dataset.task],
        f"## Learnt from\n\nPublic sets: {_SOURCES[dataset.task]}\n\n{_sides(dataset)}",
        f"## Measured\n\n{measured(evaluation)}",
        f"## Gate\n\n{_gate(verdicts)}",
        f"## Made by\n\n{_made_by(manifest, trained, recipe)}",
    )
    return "\n\n".join(parts) + "\n"


def public_and_ward(people: tuple[str, ...]) -> tuple[list[str], int]:
    """The names of public records, and how many people of a ward there are besides."""
    public = [name for name in people if not name.startswith(WARD)]
    return public, len(people) - len(public)


def _sides(dataset: Dataset) -> str:
    lines = ["| side | people | of these from a ward | windows | per class |", "|---|---|---|---|---|"]
    for side in Side:
        examples = dataset[side]
        ward = public_and_ward(examples.people)[1]
        lines.append(f"| {side} | {len(examples.people)} | {ward} | {len(examples)} | {_per_class(examples)} |")
    names = public_and_ward(dataset[Side.HELD_OUT].people)[0]
    shown = ", ".join(names) if len(names) <= 80 else f"{', '.join(names[:3])} … {names[-1]}"
    return "\n".join(lines) + f"\n\nHeld out, never learnt from by any bundle of this line: {shown}."


def _per_class(examples: Examples) -> str:
    if examples.target.ndim > 1:
        return "–"
    return ", ".join(
        f"{k}: {int((examples.target == k).sum())}" for k in sorted(set(examples.target.tolist())) if k >= 0
    )


def measured(evaluation: Evaluation) -> str:
    """The figures as Markdown: for the card, and for whoever asks what serves now."""
    who = f"{evaluation.people} held-out {WHO[evaluation.task]}"
    head = (
        f"On the {who} ({evaluation.examples} windows), after every choice was made on others. Brackets: 95 % by "
        f"bootstrap over {WHO[evaluation.task].partition(',')[0]}."
    )
    tables = _forecast_table(evaluation) if evaluation.task is Task.GLUCOSE else _class_table(evaluation)
    return "\n\n".join(filter(None, (head, tables, _alarms(evaluation), _beats(evaluation), _subgroups(evaluation))))


def _alarms(evaluation: Evaluation) -> str:
    sought, budget = ALARM_OF[evaluation.task], ALARM_BUDGET[evaluation.task]
    text = (
        f"Alarms of {sought}: at most {1000 * budget:g} false ones in 1000 windows leave a sensitivity of "
        f"{_figure(evaluation, f'budget_se_{sought}')} (threshold {evaluation.metrics['threshold_at_budget']:.3f})."
    )
    per_day = f"false_{sought}_per_day"
    if per_day not in evaluation.metrics:
        return text
    return f"{text} False ones a patient-day as it serves: {_figure(evaluation, per_day)}."


def _beats(evaluation: Evaluation) -> str:
    """EC57, percent; records of a ward are in the sums only."""
    rows = [row for row in evaluation.beats if not row.record.startswith(WARD)]
    if not rows:
        return ""
    lines = [f"| EC57, % | beats | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in rows:
        figures = ("–" if (value := getattr(row, key)) is None else f"{100 * value:.2f}" for key in COLUMNS)
        lines.append(f"| {row.record} | {row.beats} | {' | '.join(figures)} |")
    records = [row for row in rows if row.record not in (GROSS, AVERAGE) and row.v_se is not None]
    if records:
        worst = min(records, key=lambda row: row.v_se or 0.0)
        lines.append(f"\nWorst record for ventricular beats: {worst.record}, Se {100 * (worst.v_se or 0.0):.2f} %.")
    return "\n".join(lines)


def _subgroups(evaluation: Evaluation) -> str:
    fewest = FEWEST_OF_GROUP[0]
    if not evaluation.subgroups:
        return f"No subgroup by site, age, sex or device has {fewest} held-out people without being all of them."
    lines = [f"| subgroup | people | windows | {MAIN_MEASURE[evaluation.task]} |", "|---|---|---|---|"]
    for group in evaluation.subgroups:
        low, high = group.interval
        lines.append(
            f"| {group.trait} | {group.people} | {group.examples} | {group.value:.3f} [{low:.3f}, {high:.3f}] |"
        )
    return "\n".join((*lines, f"\nSmaller ones than {fewest} people are left out."))


def _class_table(evaluation: Evaluation) -> str:
    lines = ["| class | Se | +P | F1 | AUROC |", "|---|---|---|---|---|"]
    for name in evaluation.classes:
        figures = (_figure(evaluation, f"{what}_{name}") for what in ("se", "pp", "f1", "auroc"))
        lines.append(f"| {name} | {' | '.join(figures)} |")
    whole = [f"{what}: {_figure(evaluation, what)}" for what in ("accuracy", "macro_f1", "auroc", "ece", "brier")]
    rows = [*evaluation.classes, "no beat"] if evaluation.task is Task.ECG_BEAT else evaluation.classes
    table = [f"| truth | {' | '.join(evaluation.classes)} | undetected |", "|---" * (len(evaluation.classes) + 2) + "|"]
    for at, name in enumerate(rows):
        lost = str(evaluation.lost[at]) if at < len(evaluation.lost) else "–"
        table.append(f"| {name} | {' | '.join(str(n) for n in evaluation.confusion[at])} | {lost} |")
    parts = ["\n".join(lines), "; ".join(whole) + ".", "\n".join(table)]
    public = {name: value for name, value in evaluation.per_person.items() if not name.startswith(WARD)}
    if evaluation.task is Task.ECG_BEAT:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in sorted(public.items()))
        parts.append(f"Accuracy per person: {shown}.")
    return "\n\n".join(parts)


def _forecast_table(evaluation: Evaluation) -> str:
    lines = [
        "| min ahead | RMSE mg/dL | MAE | no change: RMSE | inside 90 % | inside 50 % | Clarke A + B | D + E |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for minutes in FORECAST_HORIZONS_MIN:
        if minutes in _SHOWN_HORIZONS:
            names = ("rmse", "mae", "persistence_rmse", "coverage90", "coverage50", "clarke_ab", "clarke_de")
            figures = (_figure(evaluation, f"{name}_{minutes:02d}") for name in names)
            lines.append(f"| {minutes} | {' | '.join(figures)} |")
    onset = ["| onset | AUROC 30 min | Brier | AUROC 60 min | Brier |", "|---|---|---|---|---|"]
    for limit in FORECAST_LIMITS:
        cells = (f"{what}_onset_{limit}_{minutes}" for minutes in (30, 60) for what in ("auroc", "brier"))
        onset.append(f"| {limit} | {' | '.join(_figure(evaluation, name) for name in cells)} |")
    worst = max(evaluation.per_person.values(), default=float("nan"))
    rest = f"Pinball loss {_figure(evaluation, 'pinball')} mg/dL. Worst person: RMSE {worst:.1f} mg/dL at 30 min."
    return "\n\n".join(("\n".join(lines), "\n".join(onset), rest))


def _figure(evaluation: Evaluation, name: str) -> str:
    value = evaluation.metrics.get(name)
    if value is None:
        return "–"
    interval = evaluation.interval.get(name)
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _gate(verdicts: list[Verdict]) -> str:
    rows = (f"| {verdict.rule} | {'passed' if verdict.passed else 'FAILED'} | {verdict.text} |" for verdict in verdicts)
    return "\n".join(("| rule | | figures |", "|---|---|---|", *rows))


def _made_by(manifest: Manifest, trained: Trained, recipe: Recipe) -> str:
    start = f"the weights of bundle {trained.began_from}" if trained.began_from else "fresh weights"
    chosen = (
        f"{recipe.folds}-fold cross-validation by person chose {trained.best_epoch} epochs and fitted the calibration "
        "on out-of-fold outputs; the network then learnt from all of these people"
        if recipe.folds
        else f"validation people chose epoch {trained.best_epoch}, and the calibration was fitted on them"
    )
    settings = msgspec.json.format(msgspec.json.encode(recipe), indent=2).decode()
    return (
        f"Network `{manifest.network}` {manifest.network_arguments}, begun from {start}; {chosen}. "
        f"Dataset `{manifest.trained_on}`.\n\n```json\n{settings}\n```"
    )
