"""Metrics as plain numbers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_samples(metrics: Iterable[Metric]) -> Found:
    """All samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def fetch_metrics(address: str) -> Found:
    """What is served at an address."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        return read_samples(text_string_to_metric_families(answer.read().decode()))
