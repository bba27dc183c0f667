"""The published models as JSON values: what the command line and the HTTP service tell of them."""

from __future__ import annotations

from typing import Any


def list_models() -> list[dict[str, Any]]:
    """The models that ship and the published ones, and which of them are on this machine."""
    from tubelet.model.checkpoints.bundled import BUNDLED, has_bundled
    from tubelet.model.pixelrefer.catalogue import KNOWN_MODELS, is_pulled
    from tubelet.model.tracking.sam2.weights import KNOWN_CHECKPOINTS

    rows = [{"name": name, "about": about, "pulled": has_bundled(name)} for name, about in BUNDLED.items()]
    rows += [
        {"name": name, "about": about, "pulled": is_pulled(name)} for name, about in KNOWN_MODELS.items()
    ]
    rows += [
        {"name": name, "about": "tracker, SAM 2.1", "pulled": is_pulled(repository)}
        for name, repository in KNOWN_CHECKPOINTS.items()
    ]
    return rows
