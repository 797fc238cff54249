from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from kafka import KafkaProducer

from stream.topics import Topic
from trainer.__main__ import main
from trainer.challenger import ALPHA, WINDOWS_PER_PERSON, Evidence, LabelledGain, in_the_order_of_labels, standings
from trainer.corpus.challenges import PairedWindow
from vitals.codec import encode
from vitals.events import Label, PairedAnswers, Tensor
from vitals.findings import Task

COLUMNS = ["p_malignant", "p_benign"]


def played(rng: np.random.Generator, advantage: float, people: int) -> np.ndarray:
    """float64[people]: each person's mean gain in Brier score of a challenger that is as good, plus ``advantage``.

    Two networks of one recipe differ more between people than between the windows of one.
    """
    of_person = rng.normal(advantage, 0.03, people)
    of_window = rng.normal(0, 0.05, (people, WINDOWS_PER_PERSON))
    return of_person + of_window.mean(axis=1)


def declared(gains: np.ndarray) -> tuple[bool, bool]:
    """Whether the challenger was ever declared better, and worse, by somebody who looked after each person."""
    better, worse = Evidence(), Evidence()
    for gain in gains:
        better.add(gain)
        worse.add(-gain)
    return better.most >= 1 / ALPHA, worse.most >= 1 / ALPHA


def test_of_a_thousand_runs_of_two_equal_models_few_declare_one() -> None:
    rng = np.random.default_rng(7)
    wins, losses = np.array([declared(played(rng, 0.0, 200)) for _ in range(1000)]).sum(axis=0)
    # never more than 5 % in the long run of a thousand games each; 3 standard errors above would be 70
    assert wins <= 1000 * ALPHA
    assert losses <= 1000 * ALPHA
    assert wins + losses > 0, "a test that never declares anything is none"


def test_a_model_beside_itself_is_never_declared() -> None:
    assert declared(np.zeros(100_000)) == (False, False)


def test_a_better_model_is_found_and_never_called_worse() -> None:
    rng = np.random.default_rng(8)
    found = np.array([declared(played(rng, 0.012, 300)) for _ in range(200)])
    assert found[:, 0].mean() >= 0.95
    assert found[:, 1].mean() <= ALPHA


def test_a_person_counts_once_when_enough_of_their_windows_are_labelled() -> None:
    early = [LabelledGain(10 + i, i, 0.1) for i in range(WINDOWS_PER_PERSON)]
    late = [LabelledGain(100 + i, i, -0.1) for i in range(WINDOWS_PER_PERSON)]
    few = [LabelledGain(1, 1, 0.5)] * (WINDOWS_PER_PERSON - 1)
    again = [*early, LabelledGain(50, 99, 9.9)]
    assert in_the_order_of_labels({"late": late, "few": few, "early": again}) == pytest.approx([0.1, -0.1])


def paired(patient: str, end_us: int, champion: float, challenger: float) -> PairedWindow:
    """Both say how probable it is that it is malignant."""
    said = (np.array([champion, 1 - champion]), np.array([challenger, 1 - challenger]))
    return PairedWindow(patient, end_us, "aaaa", "bbbb", COLUMNS, *said)


def test_who_is_nearer_to_what_people_say_is_declared() -> None:
    windows, labels = [], {}
    for person in range(60):
        for i in range(WINDOWS_PER_PERSON):
            truth = (person + i) % 2
            windows.append(paired(f"p{person}", i, (0.4, 0.6)[truth], (0.1, 0.9)[truth]))
            labels[f"p{person}", i] = (1000 * person + i, ("benign", "malignant")[truth])
    (standing,) = standings(Task.BREAST, windows, labels)
    assert (standing.windows, standing.alike, standing.labelled, standing.people) == (300, 300, 300, 60)
    assert standing.gain == pytest.approx(0.4**2 - 0.1**2)
    assert standing.verdict == "the challenger is better"
    swapped = [
        PairedWindow(w.patient, w.end_us, "bbbb", "aaaa", w.columns, w.said_by_challenger, w.said_by_champion)
        for w in windows
    ]
    (other,) = standings(Task.BREAST, swapped, labels)
    assert other.verdict == "the champion is better"


def test_words_that_name_no_class_and_windows_without_a_label_count_for_nothing() -> None:
    windows = [paired("p", i, 0.4, 0.1) for i in range(10)]
    (standing,) = standings(Task.BREAST, windows, {("p", 1): (1, "who knows"), ("q", 2): (1, "benign")})
    assert (standing.labelled, standing.people, standing.verdict) == (0, 0, "undecided")
    assert "10 windows of both, 100.0% called alike" in standing.text()


def tensor(rows: list[list[float]]) -> Tensor:
    return Tensor("float32", [len(rows), 2], np.array(rows, "<f4").tobytes())


@pytest.mark.broker
def test_the_state_of_a_challenge_is_read_from_the_topics(
    kafka_topics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    patients = [f"Jane Doe {i}" for i in range(20)]
    with closing(KafkaProducer(bootstrap_servers=kafka_topics, acks="all")) as producer:
        for end_us in range(WINDOWS_PER_PERSON):
            answers = PairedAnswers(
                task="breast",
                spec="s",
                champion="aaaa",
                challenger="bbbb",
                serving="aaaa",
                patients=patients,
                end_us=[end_us] * len(patients),
                columns=COLUMNS,
                said_by_champion=tensor([[0.4, 0.6]] * len(patients)),
                said_by_challenger=tensor([[0.9, 0.1]] * len(patients)),
            )
            for _ in range(2):  # a replay
                producer.send(Topic.CHALLENGES.value, encode(answers))
            for patient in patients:
                said = Label(
                    patient=patient, task="breast", end_us=end_us, value="malignant", who="reader", when_us=end_us
                )
                producer.send(Topic.LABELS.value, encode(said))
        producer.flush()
    assert main(["challenger", "--task", "breast", "--kafka", kafka_topics]) == 0
    told = capsys.readouterr().out
    assert "challenger bbbb beside aaaa: the challenger is better" in told
    assert "100 windows of both, 0.0% called alike; 100 labelled, 20 people" in told
    assert "Jane" not in told
