"""The report of an evaluation: figures by part, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tubelet.orchestration.evaluation.figures import Figure


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part: its figures in order, how long it took, and remarks on what is missing."""

    name: str
    figures: tuple[Figure, ...]
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose work was measured, in order."""
        return tuple(dict.fromkeys(figure.subject for figure in self.figures))

    @property
    def rows(self) -> Mapping[str, Mapping[str, Figure]]:
        """Figures by measure, then by subject."""
        rows: dict[str, dict[str, Figure]] = {}
        for figure in self.figures:
            rows.setdefault(figure.measure, {})[figure.subject] = figure
        return rows

    def find(self, measure: str, subject: str) -> Figure:
        """One figure; KeyError where it was not measured."""
        return self.rows[measure][subject]


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """An evaluation on rendered clips. `models` names what was measured, `clips` says on what."""

    models: Mapping[str, str]
    clips: Mapping[str, Any]
    parts: tuple[PartReport, ...]

    def part(self, name: str) -> PartReport:
        """The part of that name; KeyError where it did not run."""
        return {part.name: part for part in self.parts}[name]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "models": dict(self.models),
            "clips": dict(self.clips),
            "parts": {
                part.name: {
                    "seconds": round(part.seconds, 1),
                    "remarks": list(part.remarks),
                    "figures": [asdict(figure) for figure in part.figures],
                }
                for part in self.parts
            },
        }

    def to_markdown(self) -> str:
        """One table a part, for model cards."""
        lines = [
            "Models: " + ", ".join(f"{kind} `{name}`" for kind, name in self.models.items()) + ".",
            "Clips: " + ", ".join(f"{name} {value}" for name, value in self.clips.items()) + ".",
        ]
        for part in self.parts:
            lines += ["", f"### {part.name.capitalize()} ({part.seconds:.0f} s)", ""]
            lines.append("| measure | " + " | ".join(part.subjects) + " | over |")
            lines.append("|---" * (len(part.subjects) + 2) + "|")
            for measure, by_subject in part.rows.items():
                cells = [
                    format_figure(by_subject[subject]) if subject in by_subject else ""
                    for subject in part.subjects
                ]
                lines.append(f"| {measure} | " + " | ".join(cells) + f" | {format_counts(by_subject)} |")
            lines += ["", *part.remarks] if part.remarks else []
        return "\n".join(lines) + "\n"


def format_figure(figure: Figure) -> str:
    """The value with its interval, as in "0.81 (0.75 to 0.86)"."""
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.2f} to {figure.high:.2f})"


def format_counts(by_subject: Mapping[str, Figure]) -> str:
    """What a row was counted on, as in "120 objects"; each subject's where they differ."""
    counts = list(dict.fromkeys(figure.count for figure in by_subject.values()))
    unit = next(iter(by_subject.values())).unit
    return f"{' / '.join(map(str, counts))} {unit}"
