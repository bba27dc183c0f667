"""Lists of addresses in a file or an S3 object: CSV, JSON lines, or one address a line, also compressed.

A manifest is read as a stream, in constant memory. A line that cannot be used is told with its number and
never stops the others.

- `.csv`: a column `uri`, `s3_uri`, `url`, `source` or `path`, or the two `bucket` and `key`, whose keys are
  URL-encoded as in an S3 Inventory report ("+" is a space); a file of one column needs no header. Commas,
  semicolons or tabs.
- `.jsonl`, `.ndjson`: a string, or an object with one of these names; `key` is then as it is.
- `.txt`, `.lst`: an address a line; lines that begin with "#" are comments.
- any of them with `.gz`. After `manifest:` a file may have any name; then its first line tells the format.

Relative paths start at the manifest's folder. Text is UTF-8.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from glob import escape
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from urllib.parse import unquote_plus

from tubelet.errors import SourceError, SourceMissingError
from tubelet.workers.local_files import GLOB_CHARACTERS, require_regular, strip_scheme
from tubelet.workers.s3 import S3Options, fetch_object, find_object, parse_address

MANIFEST_PREFIX = "manifest:"
MANIFEST_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".txt", ".lst")

COLUMNS = ("uri", "s3_uri", "url", "source", "path")
_PAIR = ("bucket", "key")
_DELIMITERS = (",", ";", "\t")
_MAX_LINE_BYTES = 1 << 16
_MAX_ROW_LINES = 16
"""A quoted cell may hold line breaks; a quote that is open for longer was never meant to be."""


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """An address and where it stands, or what is wrong with the line. Lines count from 1."""

    number: int
    address: str = ""
    error: SourceError | None = None


class _BadLineError(Exception):
    """A line that names no address: what was found, and what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


_Line = tuple[int, str | _BadLineError]


def is_manifest_name(name: str) -> bool:
    """Whether a file or key of this name is a manifest and no video.

    >>> is_manifest_name("videos.csv"), is_manifest_name("list.TXT.gz"), is_manifest_name("a.mp4")
    (True, True, False)
    """
    return name.lower().removesuffix(".gz").endswith(MANIFEST_SUFFIXES)


def read_manifest(address: str, s3: S3Options) -> Iterator[ManifestLine]:
    """Yield the lines of a manifest at a path, `file://` or `s3://` address; blank ones and comments are not.

    An S3 object is copied to a temporary file first, so that slow readers do not lose it.

    Raises SourceError where the manifest cannot be read, also in the middle.
    """
    location = address.removeprefix(MANIFEST_PREFIX)
    with ExitStack() as stack:
        complete: Callable[[str], str]
        if location.startswith("s3://"):
            bucket, key = parse_address(location)
            source = find_object(bucket, key, s3)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tubelet-")))
            path = stack.enter_context(fetch_object(source, folder, s3))
            complete = partial(_complete_s3, location.rpartition("/")[0])
        else:
            path = Path(strip_scheme(location)).expanduser().absolute()
            complete = partial(_complete_path, path.parent)
            require_regular(path)
        num_lines = 0
        try:
            file = stack.enter_context(_open(path))
            for number, found in _parse(_read_lines(file, location), location):
                num_lines += 1
                yield _check(number, found, location, complete)
        except (EOFError, zlib.error, OSError) as error:
            raise SourceMissingError(
                f"{location} cannot be read to its end: {error}", do="check the file, or make it again"
            ) from error
    if not num_lines:
        raise SourceMissingError(f"{location} names no video", expected="an address in each line")


def _open(path: Path) -> BufferedIOBase:
    file = path.open("rb")
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    file.close()
    return gzip.open(path, "rb")


def _read_lines(file: BufferedIOBase, location: str) -> Iterator[_Line]:
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise SourceError(f"{location} is UTF-16 text", expected="UTF-8", do="save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")
        start, is_long = line, False
        while len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            is_long = True
            line = file.readline(_MAX_LINE_BYTES)
        if is_long:
            shown = start[:40].decode(errors="replace")
            yield number, _BadLineError(f"{shown!r} and more", f"at most {_MAX_LINE_BYTES} bytes")
            continue
        try:
            yield number, line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            yield number, _BadLineError(ascii(line[:80])[1:], "UTF-8 text")


def _parse(lines: Iterator[_Line], location: str) -> Iterator[_Line]:
    name = location.lower().removesuffix(".gz")
    if name.endswith((".txt", ".lst")):
        return _parse_text(lines)
    if name.endswith(".csv"):
        return _parse_csv(lines)
    if name.endswith((".jsonl", ".ndjson")):
        return _parse_json(lines)
    first = list(_take_first(lines))
    text = first[-1][1] if first else ""
    lines = chain(first, lines)
    if isinstance(text, str) and text.lstrip().startswith(("{", '"')):
        return _parse_json(lines) if _is_json(text) else _parse_csv(lines)
    if isinstance(text, str) and any(_find_column(_split(text, mark)) for mark in _DELIMITERS):
        return _parse_csv(lines)
    return _parse_text(lines)


def _take_first(lines: Iterator[_Line]) -> Iterator[_Line]:
    """The lines up to the first that says something."""
    for number, text in lines:
        yield number, text
        if not isinstance(text, str) or text.strip():
            return


def _parse_text(lines: Iterable[_Line]) -> Iterator[_Line]:
    for number, text in lines:
        if not isinstance(text, str):
            yield number, text
        elif (address := text.strip()) and not address.startswith("#"):
            yield number, address


def _parse_json(lines: Iterable[_Line]) -> Iterator[_Line]:
    for number, text in lines:
        if not isinstance(text, str):
            yield number, text
        elif text.strip():
            try:
                yield number, _read_json(text)
            except _BadLineError as error:
                yield number, error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_json(text: str) -> str:
    expected = "a string, or an object with one of " + ", ".join(COLUMNS) + ", or with bucket and key"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _BadLineError(f"{_shorten(text)} is no JSON ({error})", expected) from error
    if isinstance(value, Mapping):
        lower = {str(name).lower(): each for name, each in value.items()}
        found = next((lower[name] for name in COLUMNS if name in lower), None)
        if found is None and isinstance(lower.get("bucket"), str) and isinstance(lower.get("key"), str):
            found = _join_pair(lower["bucket"], lower["key"])
        value = found
    if not isinstance(value, str):
        raise _BadLineError(_shorten(text), expected)
    return value


def _parse_csv(lines: Iterator[_Line]) -> Iterator[_Line]:
    for start, text in lines:
        if not isinstance(text, str):
            yield start, text
        elif text.strip():
            break
    else:
        return
    pick: _Pick = _pick_only
    delimiter, num_cells, is_header = ",", 1, False
    for mark in _DELIMITERS:
        cells = _split(text, mark)
        column = _find_column(cells)
        if column is not None:
            delimiter, pick, num_cells, is_header = mark, column, len(cells), True
            break
    for number, row in _read_rows(chain([(start, text)], lines), delimiter):
        if is_header:
            is_header = False
            continue
        if isinstance(row, _BadLineError):
            yield number, row
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != num_cells:
            expected = f"{num_cells} {'cell' if num_cells == 1 else 'cells'}, or a header line with uri"
            yield number, _BadLineError(f"{len(row)} cells: {_shorten(delimiter.join(row))}", expected)
            continue
        try:
            if address := pick(row):
                yield number, address
        except _BadLineError as error:
            yield number, error


_Pick = Callable[[Sequence[str]], str]
"""Takes the address from a row; empty: the row is passed over."""


def _pick_only(row: Sequence[str]) -> str:
    return row[0].strip()


def _find_column(cells: Sequence[str]) -> _Pick | None:
    """How rows below this one give an address, where it is a header."""
    names = [cell.strip().lower() for cell in cells]
    for name in COLUMNS:
        if name in names:
            return partial(_pick_cell, names.index(name))
    if set(_PAIR) <= set(names):
        return partial(_pick_pair, names.index("bucket"), names.index("key"))
    return None


def _pick_cell(place: int, row: Sequence[str]) -> str:
    if not row[place].strip():
        raise _BadLineError(f"an empty cell in {_shorten(','.join(row))}", "an address")
    return row[place].strip()


def _pick_pair(bucket: int, key: int, row: Sequence[str]) -> str:
    """The address of an object; placeholders of folders are passed over."""
    try:
        decoded = unquote_plus(row[key], errors="strict")
    except UnicodeDecodeError as error:
        raise _BadLineError(f"the key {_shorten(row[key])}", "a key in URL encoding of UTF-8") from error
    return "" if decoded.endswith("/") else _join_pair(row[bucket].strip(), decoded)


def _join_pair(bucket: str, key: str) -> str:
    if not bucket or "/" in bucket or not key:
        raise _BadLineError(f"bucket {_shorten(bucket)} and key {_shorten(key)}", "a bucket and a key")
    return f"s3://{bucket}/{key}"


def _split(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return []


def _read_rows(lines: Iterator[_Line], delimiter: str) -> Iterator[tuple[int, list[str] | _BadLineError]]:
    """Rows with the number of their first line. After a bad line reading goes on with the next one."""
    waiting: deque[_Line] = deque()

    def take() -> _Line | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (line := take()) is not None:
        number, text = line
        if not isinstance(text, str):
            yield number, text
            continue
        parts, taken = [text], list[_Line]()
        while True:
            reader = csv.reader(
                [f"{part}\n" for part in parts], delimiter=delimiter, skipinitialspace=True, strict=True
            )
            try:
                row = next(reader, [])
            except csv.Error as error:
                more = take() if "end of data" in str(error) and len(parts) < _MAX_ROW_LINES else None
                if more is not None:
                    taken.append(more)
                    if isinstance(more[1], str):
                        parts.append(more[1])
                        continue
                waiting.extendleft(reversed(taken))
                yield number, _BadLineError(f"{_shorten(text)} ({error})", "cells as in RFC 4180")
            else:
                yield number, row
            break


def _check(
    number: int, found: str | _BadLineError, location: str, complete: Callable[[str], str]
) -> ManifestLine:
    if isinstance(found, str):
        if not found.strip():
            found = _BadLineError("an empty address", "an address")
        elif not _is_text(found):
            found = _BadLineError(ascii(found[:80]), "characters that Unicode knows")
    if isinstance(found, str):
        return ManifestLine(number, complete(found))
    error = SourceError(
        f"line {number} of {location} holds {found.found}", expected=found.expected, do="correct the line"
    )
    return ManifestLine(number, error=error)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _complete_s3(parent: str, address: str) -> str:
    """Keys are taken as they are: `..` is a name like any other in S3."""
    return address if _is_absolute(address) else f"{parent}/{address}"


def _complete_path(parent: Path, address: str) -> str:
    if _is_absolute(address):
        return address
    path = os.path.join(parent, address)
    if GLOB_CHARACTERS & set(address) and not os.path.lexists(path):
        return os.path.join(escape(str(parent)), address)  # the folder's own name is no pattern
    return path


def _is_absolute(address: str) -> bool:
    return "://" in address or address.startswith(("/", "~", "file:", MANIFEST_PREFIX))


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
