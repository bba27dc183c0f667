"""Lines of the log: one JSON object each, with the ids of what runs."""

from __future__ import annotations

import json
import logging
import sys

from tubelet.orchestration.watching.logs import IdFilter, JsonFormatter, log_ids


def test_lines_are_json_with_ids_and_what_went_wrong() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("tubelet.x", logging.ERROR, "x.py", 1, "unit %s\nfailed", ("u1",), error)
    with log_ids(batch="b1", video=""), log_ids(unit="u1"):
        assert IdFilter().filter(record)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "tubelet.x", "unit u1\nfailed")
    assert (told["batch"], told["unit"]) == ("b1", "u1")
    assert "video" not in told, "an id that is empty is none"
    assert "ValueError: no\nway" in told["error"]
    later = logging.LogRecord("tubelet.x", logging.INFO, "x.py", 1, "after", (), None)
    IdFilter().filter(later)
    assert "batch" not in json.loads(JsonFormatter().format(later))
