"""What the service counts of itself, in Prometheus' text format."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tubelet.api.server.state import Service

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestCounts:
    """Requests by method and status, and the seconds that they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._seconds: defaultdict[tuple[str, int], float] = defaultdict(float)

    def add(self, method: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        key = (method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other", status)
        with self._lock:
            self._counts[key] += 1
            self._seconds[key] += seconds

    def render(self) -> str:
        """Lines of text, sorted."""
        lines = []
        with self._lock:
            for name, kind, values in (
                ("tubelet_api_requests_total", "counter", self._counts),
                ("tubelet_api_request_seconds_total", "counter", self._seconds),
            ):
                lines.append(f"# TYPE {name} {kind}")
                for (method, status), value in sorted(values.items()):
                    lines.append(f'{name}{{method="{method}",status="{status}"}} {value:g}')
        return "\n".join(lines) + "\n"


def render_metrics(service: Service) -> tuple[bytes, str]:
    """The text and its media type."""
    text = service.counts.render()
    text += f"# TYPE tubelet_api_listeners gauge\ntubelet_api_listeners {service.watch.num_listeners}\n"
    return text.encode(), MEDIA_TYPE
