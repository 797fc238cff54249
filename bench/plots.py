"""Pictures of trials."""

from __future__ import annotations

from pathlib import Path

from bench.trial import Seen


def over_time(seen: Seen, title: str, path: Path) -> None:
    """Latency, backlog, memory and files of a worker from the beginning of a trial to its end, as PNG."""
    import matplotlib as mpl  # noqa: PLC0415  only for the picture

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (late, lag, memory) = plt.subplots(3, 1, figsize=(9, 8), sharex=True)
    for name in ("chunk_to_finding", "chunk_to_alarm"):
        late.step(
            [bucket.at_s for bucket in seen.buckets],
            [bucket.p99_ms[name] for bucket in seen.buckets],
            where="post",
            label=name.replace("_", " "),
        )
    late.set_ylabel("p99, ms")
    late.set_ylim(bottom=0)
    late.legend()
    at_s = [sample.at_s for sample in seen.samples]
    lag.plot(at_s, [sample.lag for sample in seen.samples], color="tab:red")
    lag.set_ylabel("ECG records waiting", color="tab:red")
    steps = lag.twinx()
    steps.step(at_s, [sample.step for sample in seen.samples], where="post", color="tab:grey")
    steps.set_ylabel("given up, step", color="tab:grey")
    steps.set_ylim(0, 6.5)
    memory.plot(at_s, [sample.rss_mb for sample in seen.samples], color="tab:blue")
    memory.set_ylabel("memory, MB", color="tab:blue")
    memory.set_ylim(bottom=0)
    memory.set_xlabel("seconds")
    files = memory.twinx()
    files.plot(at_s, [sample.files for sample in seen.samples], color="tab:green")
    files.set_ylabel("open files", color="tab:green")
    files.set_ylim(bottom=0)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
