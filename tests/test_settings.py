"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tubelet.errors import SettingsError, UnknownNameError
from tubelet.settings import Settings, load_settings


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    file = tmp_path / "tubelet.toml"
    file.write_text("sample_fps = 2\nchunk_s = 20\nworkers = 3\n")
    settings = load_settings(
        {"home": tmp_path, "sample_fps": 4.0, "chunk_s": None},
        environment={"TUBELET_SAMPLE_FPS": "3", "TUBELET_CHUNK_S": "30"},
    )
    assert (settings.sample_fps, settings.chunk_s, settings.workers) == (4.0, 30.0, 3)


def test_home_comes_from_the_environment(tmp_path: Path) -> None:
    assert load_settings(environment={"TUBELET_HOME": str(tmp_path)}).home == tmp_path


def test_config_variable_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("chunk_s = 7\n")
    assert load_settings(environment={"TUBELET_CONFIG": str(file)}).chunk_s == 7


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"colour": 1}, {}, "flag: colour"),
        ({}, {"TUBELET_SAMPEL_FPS": "6"}, "TUBELET_SAMPEL_FPS"),
        ({"sample_fps": 0}, {}, "sample_fps is 0"),
        ({}, {"TUBELET_WORKERS": "many"}, "TUBELET_WORKERS is 'many'"),
    ],
)
def test_bad_settings_name_where_they_came_from(
    flags: dict[str, object], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match="Do: ") as caught:
        load_settings(flags, environment=environment)
    assert words in str(caught.value)


def test_unknown_key_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tubelet.toml").write_text("speed = 'fast'\n")
    with pytest.raises(SettingsError, match=r"tubelet\.toml: speed"):
        load_settings({"home": tmp_path}, environment={})


@pytest.mark.parametrize("content", [None, "not = = toml"])
def test_unreadable_file_is_an_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "bad.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"bad\.toml"):
        load_settings(config=file, environment={})


def test_unknown_profile_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="bundled"):
        load_settings({"profile": "huge"}, environment={})


def test_profile_fills_what_is_not_chosen() -> None:
    settings = load_settings({"tracker": "other"}, environment={})
    assert (settings.tracker_name, settings.captioner_name) == ("other", "pixelrefer-lite")


def test_weights_of_the_profile_are_for_the_models_of_the_profile() -> None:
    assert load_settings(environment={}).tracker_checkpoint == "sam2-small"
    assert load_settings(environment={}).captioner_checkpoint == "pixelrefer-lite-small"
    assert load_settings({"tracker": "motion"}, environment={}).tracker_checkpoint == ""
    other = {"profile": "standard", "captioner": "attributes"}
    assert load_settings(other, environment={}).captioner_checkpoint == ""


def test_options_digest_follows_what_changes_rows_only() -> None:
    plain = Settings()
    assert plain.model_copy(update={"sample_fps": 3.0}).options_digest != plain.options_digest
    assert plain.model_copy(update={"workers": 9}).options_digest == plain.options_digest


def test_the_recogniser_is_the_profiles_unless_it_is_set() -> None:
    assert load_settings(environment={}).recogniser_name == "efficientnet-lite0"
    measured = load_settings({"profile": "measured"}, environment={})
    assert (measured.recogniser_name, measured.tracker_name) == ("none", "motion")
    off = load_settings({"recogniser": "none"}, environment={})
    assert off.recogniser_name == "none"
    assert off.options_digest != load_settings(environment={}).options_digest
