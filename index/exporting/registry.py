"""Every export format by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tubelet.errors import InputError, UnknownNameError
from tubelet.index.exporting.coco_vid import write_coco_vid
from tubelet.index.exporting.csv_tables import write_boxes_csv, write_moments_csv
from tubelet.index.exporting.cvat import write_cvat
from tubelet.index.exporting.format import ExportFormat, file_a_video, one_file
from tubelet.index.exporting.json_document import write_json_document
from tubelet.index.exporting.json_lines import write_json_lines
from tubelet.index.exporting.label_studio import write_label_studio
from tubelet.index.exporting.mot import write_mot, write_mot_results
from tubelet.index.exporting.parquet import write_parquet
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.exporting.webvtt import write_webvtt
from tubelet.index.exporting.youtube_vis import write_youtube_vis

EXPORTERS: Mapping[str, ExportFormat] = {
    each.name: each
    for each in (
        one_file("jsonl", "a line of JSON an object", ".jsonl", write_json_lines),
        one_file("json", "one JSON document, videos with objects", ".json", write_json_document),
        one_file("csv", "a row a moment", ".csv", write_moments_csv),
        one_file("csv-boxes", "a row a box, with frame numbers", ".csv", write_boxes_csv),
        one_file("parquet", "a row an object, moments and path nested", ".parquet", write_parquet),
        file_a_video("webvtt", "captions as a subtitle track", ".vtt", write_webvtt),
        ExportFormat("mot", "MOT Challenge ground truth", ".txt", "folder", write_mot),
        file_a_video("mot-results", "MOT Challenge results", ".txt", write_mot_results),
        one_file("coco-vid", "COCO with videos, RLE masks", ".json", write_coco_vid),
        one_file("youtube-vis", "YouTube-VIS, RLE masks", ".json", write_youtube_vis),
        file_a_video("cvat", "CVAT for video 1.1 XML", ".xml", write_cvat),
        one_file("label-studio", "Label Studio tasks, every frame", ".json", write_label_studio),
    )
}


def find_format(name: str) -> ExportFormat:
    """A format by name. Raises UnknownNameError."""
    if name not in EXPORTERS:
        raise UnknownNameError("export format", name, EXPORTERS)
    return EXPORTERS[name]


def stream_export(timelines: Timelines, format_name: str) -> Iterator[str | bytes]:
    """An export that is a single file, piece by piece.

    Raises UnknownNameError for a format, and InputError where the format makes several files of these videos,
    before anything is read.
    """
    chosen = find_format(format_name)
    if chosen.layout == "folder" or (chosen.layout == "file a video" and len(timelines.videos) != 1):
        raise InputError(
            f"Format {format_name} makes several files, and there are {len(timelines.videos)} videos",
            expected="a folder to write them to" + (", or one video" if chosen.layout != "folder" else ""),
            do="name a folder with --out" + (" or a video with --video" if chosen.layout != "folder" else ""),
        )
    return (piece for file in chosen.write(timelines) for piece in file.pieces)
