"""Answers of searches and counts as JSON values: what the command line and the HTTP service print."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tubelet.index.exporting.json_values import RATIO_DECIMALS, SECOND_DECIMALS, hit_to_json
from tubelet.index.searching.aggregating import Aggregate
from tubelet.records import Hit, SearchResult


def result_to_json(result: SearchResult) -> dict[str, Any]:
    """A page of hits. `next_cursor` and `notes` are there when there is something to say."""
    told: dict[str, Any] = {
        "query": result.query,
        "parsed": dict(result.parsed),
        "hits": [found_to_json(hit) for hit in result.hits],
    }
    if result.next_cursor:
        told["next_cursor"] = result.next_cursor
    if result.notes:
        told["notes"] = list(result.notes)
    return told


def found_to_json(hit: Hit) -> dict[str, Any]:
    """A hit, with its steps, relations and verdict where they were asked for."""
    told = hit_to_json(hit)
    if hit.steps:
        told["steps"] = [
            {
                "moment_id": step.moment_id,
                "start_s": round(step.start_s, SECOND_DECIMALS),
                "end_s": round(step.end_s, SECOND_DECIMALS),
            }
            for step in hit.steps
        ]
    if hit.relations:
        told["relations"] = [
            {
                "kind": relation.kind,
                "value": round(relation.value, RATIO_DECIMALS),
                "object_id": relation.object_id,
            }
            for relation in hit.relations
        ]
    if hit.verified is not None:
        told["verified"] = round(hit.verified, RATIO_DECIMALS)
    return told


def aggregate_to_json(aggregate: Aggregate) -> dict[str, Any]:
    """Counts in all and by group."""
    bins = [
        {name: value for name, value in asdict(each).items() if value is not None} for each in aggregate.bins
    ]
    told: dict[str, Any] = {
        "num_objects": aggregate.num_objects,
        "num_moments": aggregate.num_moments,
        "bins": bins,
    }
    if aggregate.notes:
        told["notes"] = list(aggregate.notes)
    return told
