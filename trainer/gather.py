"""All that can be learnt from for one task: the public sets that are on this machine, and the archive of the ward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from trainer import erased, pseudonyms
from trainer.config import LABELS_TOPIC, WINDOWS_TOPIC, CorpusRecipe, Places
from trainer.corpus import clips, ecg, glucose, imaging
from trainer.corpus.archive import archive
from trainer.corpus.sources import Source, sources
from trainer.examples import PersonExamples, of_archive, of_clip, of_ecg, of_glucose, of_images
from trainer.replays import recognised
from vitals.findings import Task


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everybody's examples. ``excluded``: what became none, by reason; ``sources``: the public files read."""

    people: list[PersonExamples] = field(repr=False)
    excluded: Counter[str]
    sources: list[Source] = field(repr=False)


def gathered(task: Task, places: Places, kafka: str | None, recipe: CorpusRecipe) -> Corpus:
    """The corpus of ``task``. Raises ``Fault`` when ``kafka`` is named and cannot be read."""
    public = list(tqdm(_public(task, places.data, recipe), desc=f"{task} windows", unit=" people", disable=None))
    people, excluded = public, Counter[str]()
    if kafka is not None:
        read = archive(kafka, task, WINDOWS_TOPIC, LABELS_TOPIC)
        ward = of_archive(
            read,
            task,
            pseudonyms.kept_in(places.state),
            max_windows=recipe.max_windows_per_person,
            erased=erased.people(places.state),
        )
        people, excluded = public + recognised(ward, public), read.excluded
    return Corpus(people, sum((one.excluded for one in people), excluded), sources(task, places.data))


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
