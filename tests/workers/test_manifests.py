"""Manifests in every format: what they name comes out, what is wrong is told with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3_server import FaultyS3
from tubelet.errors import SourceError, SourceMissingError, TransientError
from tubelet.records import Source
from tubelet.workers.manifests import ManifestLine, is_manifest_name, read_manifest
from tubelet.workers.s3 import S3Options
from tubelet.workers.source import SourceFailure, expand_sources

NO_S3 = S3Options()


def read(path: Path, content: bytes | str) -> list[tuple[int, str]]:
    """Line numbers and addresses of a manifest; a bad line is "!" and what was found."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [
        (line.number, f"!{line.error.found}" if line.error else line.address)
        for line in read_manifest(str(path), NO_S3)
    ]


def addresses(path: Path, content: bytes | str) -> list[str]:
    return [address for _, address in read(path, content)]


@pytest.mark.parametrize("name", ["l.csv", "l.CSV.gz", "l.jsonl", "l.ndjson", "l.txt", "l.lst.gz"])
def test_names_of_manifests(name: str) -> None:
    assert is_manifest_name(name)


@pytest.mark.parametrize("name", ["a.mp4", "a.gz", "csv", "a.csv.mp4", "a.json"])
def test_names_of_others(name: str) -> None:
    assert not is_manifest_name(name)


@pytest.mark.parametrize(
    "content",
    [
        "uri\ns3://b/1.mp4\n/v/ü 2.mp4\n",
        "\ufeffuri\r\ns3://b/1.mp4\r\n\r\n/v/ü 2.mp4",
        's3://b/1.mp4\n"/v/ü 2.mp4"\n',
        "camera,URL,size\n1,s3://b/1.mp4,5\n2,/v/ü 2.mp4,\n",
        'camera; "Path"\nx; s3://b/1.mp4\ny; "/v/ü 2.mp4"\n',
        "source\tid\ns3://b/1.mp4\t1\n/v/ü 2.mp4\t2\n",
        "id,s3_uri,path\n1,s3://b/1.mp4,no\n2,/v/ü 2.mp4,no\n",
    ],
)
def test_csv_in_the_forms_that_people_have(tmp_path: Path, content: str) -> None:
    assert addresses(tmp_path / "l.csv", content) == ["s3://b/1.mp4", "/v/ü 2.mp4"]
    (tmp_path / "l.csv.gz").write_bytes(gzip.compress(content.encode()))
    assert [line.address for line in read_manifest(str(tmp_path / "l.csv.gz"), NO_S3)] == [
        "s3://b/1.mp4",
        "/v/ü 2.mp4",
    ]


def test_an_inventory_report(tmp_path: Path) -> None:
    """Keys are URL-encoded; placeholders of folders are no videos."""
    rows = '"Bucket","Key","Size"\n"b","a+b/%C3%BC%2B1%2520.mp4","5"\n"b","a+b/","0"\n"b","../x.mp4","1"\n'
    assert addresses(tmp_path / "l.csv", rows) == ["s3://b/a b/ü+1%20.mp4", "s3://b/../x.mp4"]


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        '"s3://b/1.mp4"',
        "",
        '{"id": 1, "uri": "/v/\\u00fc 2.mp4"}',
        '{"Bucket": "b", "Key": "a+b%20.mp4"}',
    ]
    expected = [(1, "s3://b/1.mp4"), (3, "/v/ü 2.mp4"), (4, "s3://b/a+b%20.mp4")]
    assert read(tmp_path / "l.jsonl", "\n".join(lines)) == expected


def test_plain_text(tmp_path: Path) -> None:
    content = "# videos of May\n\n  s3://b/a #1.mp4 \r\n/v/2.mp4\n  # end"
    assert read(tmp_path / "l.txt", content) == [(3, "s3://b/a #1.mp4"), (4, "/v/2.mp4")]


def test_relative_paths_start_at_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "day [1]"
    folder.mkdir()
    (folder / "a.mp4").write_text("a")
    (folder / "x[1].mp4").write_text("x")
    content = "a.mp4\nsub/../b.mp4\n*.mp4\nx[1].mp4\n~/c.mp4\n/d.mp4\nfile:///e.mp4\n"
    assert addresses(folder / "l.txt", content) == [
        f"{folder}/a.mp4",
        f"{folder}/sub/../b.mp4",
        f"{tmp_path}/day [[]1]/*.mp4",
        f"{folder}/x[1].mp4",
        "~/c.mp4",
        "/d.mp4",
        "file:///e.mp4",
    ]
    found = [item.uri for item in expand_sources([f"{folder}/l.txt"], s3=NO_S3) if isinstance(item, Source)]
    assert found == [f"{folder}/a.mp4", f"{folder}/x[1].mp4"]


BAD_CSV = b'uri,n\ngood-1,1\n"open,2\n\xff\xfe,3\ngood-2,4\n,5\nlong,er,6\n"a"b,7\n"two\nlines",8\n' + (
    b"x" * 70_000 + b",9\ngood-3,10\n"
)


def test_bad_lines_are_told_and_hide_no_others(tmp_path: Path) -> None:
    lines = read(tmp_path / "l.csv", BAD_CSV)
    good = [(number, Path(address).name) for number, address in lines if not address.startswith("!")]
    bad = {number: address for number, address in lines if address.startswith("!")}
    assert good == [(2, "good-1"), (5, "good-2"), (9, "two\nlines"), (12, "good-3")]
    assert sorted(bad) == [3, 4, 6, 7, 8, 11]
    for number, words in {3: "open", 4: "xff", 6: "empty cell", 7: "3 cells", 8: '"a"b', 11: "xxx"}.items():
        assert f"line {number} of {tmp_path}/l.csv" in bad[number]
        assert words in bad[number]


@pytest.mark.parametrize(
    "line",
    [
        *("nonsense", "{", "5", "null", "[]", '{"name": "a.mp4"}', '{"uri": 5}', '""', "1" * 5000),
        *('{"bucket": "a/b", "key": "c"}', '{"bucket": "b", "key": ""}'),
        *('"\\ud800.mp4"', '"a\\u0000.mp4"', "[" * 30_000),
    ],
)
def test_bad_lines_of_json(tmp_path: Path, line: str) -> None:
    (_, first), (number, good) = read(tmp_path / "l.jsonl", f'{line}\n"/good.mp4"\n')
    assert first.startswith(f"!line 1 of {tmp_path}/l.jsonl holds")
    assert (number, good) == (2, "/good.mp4")


def test_two_columns_without_a_header_say_what_is_missing(tmp_path: Path) -> None:
    [line] = read_manifest(str(_write(tmp_path / "l.csv", "b,key.mp4\n")), NO_S3)
    assert line.error is not None
    assert "header line with uri" in str(line.error)


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", b"", "names no video"),
        ("l.csv", b"uri\n\n", "names no video"),
        ("l.txt", b"# nothing\n", "names no video"),
        ("l.txt", "a.mp4\n".encode("utf-16"), "UTF-16"),
        ("l.txt.gz", gzip.compress(b"a.mp4\n" * 1000, mtime=0)[:-12], "to its end"),
        ("l.txt.gz", b"\x1f\x8bnonsense", "to its end"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = _write(tmp_path / name, content)
    with pytest.raises(SourceError, match=words):
        list(read_manifest(str(path), NO_S3))
    failures = [item for item in expand_sources([str(path)], s3=NO_S3) if item.uri == str(path)]
    assert len(failures) == 1
    assert words in str(failures[0].error)  # type: ignore[union-attr]


def test_after_the_prefix_any_name_will_do(tmp_path: Path) -> None:
    for content in ("/1.mp4\n/2.mp4\n", "n,uri\n1,/1.mp4\n2,/2.mp4\n", '"/1.mp4"\n{"uri": "/2.mp4"}\n'):
        path = _write(tmp_path / "videos.mp4", f"\n{content}")
        lines = list(read_manifest(f"manifest:{path}", NO_S3))
        assert [line.address for line in lines] == ["/1.mp4", "/2.mp4"]
    with pytest.raises(SourceMissingError):
        list(read_manifest(f"manifest:{tmp_path}/gone", NO_S3))


def test_expanding_a_manifest_tells_every_line(tmp_path: Path) -> None:
    for name in ("a.mp4", "v/b.mp4", "v/c.mkv", "notes.dat"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    _write(tmp_path / "other.csv", "a.mp4\n")
    manifest = _write(
        tmp_path / "l.jsonl",
        '"a.mp4"\n"gone.mp4"\n5\n"v/"\n"notes.dat"\n"other.csv"\n"a.mp4"\n"manifest:x"\n"s3://"\n',
    )
    items = list(expand_sources([str(manifest), str(tmp_path / "a.mp4")], s3=NO_S3))
    found = [item.uri for item in items if isinstance(item, Source)]
    failed = {item.uri: str(item.error) for item in items if isinstance(item, SourceFailure)}
    assert found == [str(tmp_path / name) for name in ("a.mp4", "v/b.mp4", "v/c.mkv", "notes.dat")]
    assert {Path(uri).name: reason.split(" of ")[0] for uri, reason in failed.items()} == {
        "gone.mp4": "line 2",
        "l.jsonl:3": "line 3",
        "other.csv": "line 6",
        "manifest:x": "line 8",
        "s3:": "line 9",
    }
    assert "manifest in a manifest" in failed[str(tmp_path / "other.csv")]


def test_a_manifest_in_s3_of_objects_prefixes_and_globs(
    s3_client: Any, bucket: str, s3_options: S3Options
) -> None:
    keys = ["m/a b.mp4", "m/../ü.mp4", "m/v/1.mp4", "m/v/2.txt", "m/w/3.mp4", "top.mp4"]
    for key in keys:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    lines = [
        "a b.mp4",
        "../ü.mp4",
        "v/",
        "w/*.mp4",
        f"s3://{bucket}/top.mp4",
        "gone.mp4",
        "s3://no-such-bucket/x/",
    ]
    s3_client.put_object(Bucket=bucket, Key="m/list.txt.gz", Body=gzip.compress("\n".join(lines).encode()))
    items = list(expand_sources([f"s3://{bucket}/m/list.txt.gz"], s3=s3_options))
    assert [item.uri.removeprefix(f"s3://{bucket}/") for item in items] == [
        *("m/a b.mp4", "m/../ü.mp4", "m/v/1.mp4", "m/w/3.mp4", "top.mp4", "m/gone.mp4"),
        "s3://no-such-bucket/x/",
    ]
    failures = [item for item in items if isinstance(item, SourceFailure)]
    assert ["line 6 of" in str(failures[0].error), "line 7 of" in str(failures[1].error)] == [True, True]
    assert len(failures) == 2


def test_a_missing_manifest_in_s3(bucket: str, s3_options: S3Options) -> None:
    for address in (f"s3://{bucket}/gone.csv", f"manifest:s3://{bucket}/gone", "s3://no-such-bucket/l.csv"):
        [item] = expand_sources([address], s3=s3_options)
        assert isinstance(item, SourceFailure)
        assert item.uri == address
        assert isinstance(item.error, SourceMissingError)


def test_a_busy_server_is_told_from_a_missing_object(
    s3_client: Any, bucket: str, faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    """The line fails for now, the others do not; listing again finds it."""
    for number in range(3):
        s3_client.put_object(Bucket=bucket, Key=f"{number}.mp4", Body=b"x")
    manifest = _write(tmp_path / "l.txt", "".join(f"s3://{bucket}/{number}.mp4\n" for number in range(3)))
    options = S3Options(faulty_s3.url, "us-east-1", num_attempts=1)
    faulty_s3.fail("HEAD", "503")
    items = list(expand_sources([str(manifest)], s3=options))
    failures = [item for item in items if isinstance(item, SourceFailure)]
    assert (len(items), len(failures)) == (3, 1)
    assert isinstance(failures[0].error, TransientError)
    assert all(isinstance(item, Source) for item in expand_sources([str(manifest)], s3=options))


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
).map(lambda name: f"s3://b/{name}x")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_csv_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], delimiter: str, ending: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([["n", "uri"], *([number, name] for number, name in enumerate(names))])
    path = tmp_path_factory.getbasetemp() / "hypothesis.csv"
    assert addresses(path, text.getvalue()) == [name.replace("\r\n", "\n") for name in names]


@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=6), st.booleans())
def test_json_and_inventories_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], plus: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    lines = "\n".join(json.dumps({"uri": name}, ensure_ascii=plus) for name in names)
    assert addresses(folder / "hypothesis.jsonl", lines) == names
    encode = quote_plus if plus else quote
    rows = "".join(f'"b","{encode(name.removeprefix("s3://b/"))}"\n' for name in names)
    assert addresses(folder / "hypothesis.csv", f"bucket,key\n{rows}") == names


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["csv", "jsonl", "txt", "other"]))
def test_any_bytes_give_lines_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(content)
    try:
        lines = list(read_manifest(f"manifest:{path}", NO_S3))
    except SourceError:
        return
    assert all(isinstance(line, ManifestLine) for line in lines)
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert all((line.error is None) == bool(line.address) for line in lines)
