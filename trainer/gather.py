"""All that can be learnt from for one task: the public sets that are on this machine, and the archive of the ward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from trainer.config import LABELS_TOPIC, WINDOWS_TOPIC, CorpusRecipe
from trainer.corpus import clips, ecg, glucose, imaging
from trainer.corpus.archive import archive
from trainer.examples import PersonExamples, of_archive, of_clip, of_ecg, of_glucose, of_images
from trainer.replays import recognised
from vitals.findings import Task


def gathered(task: Task, data: Path, kafka: str | None, recipe: CorpusRecipe) -> list[PersonExamples]:
    """Everybody's examples. Raises ``Fault`` when ``kafka`` is named and cannot be read."""
    public = list(tqdm(_public(task, data, recipe), desc=f"{task} windows", unit=" people", disable=None))
    if kafka is None:
        return public
    ward = of_archive(archive(kafka, task, WINDOWS_TOPIC, LABELS_TOPIC), task, recipe.max_windows_per_person)
    return public + recognised(ward, public)


def _public(task: Task, data: Path, recipe: CorpusRecipe) -> Iterator[PersonExamples]:
    if task is Task.ECG_BEAT:
        yield from (of_ecg(record) for record in ecg.records(data))
    elif task is Task.ECG_AF:
        yield from (of_clip(clip) for clip in clips.clips(data))
    elif task is Task.GLUCOSE:
        yield from (of_glucose(person, recipe.max_windows_per_person) for person in glucose.people(data))
    else:
        name = imaging.PNEUMONIA if task is Task.PNEUMONIA else imaging.BREAST
        for images in imaging.images(data, name):
            yield from of_images(images)
