"""Medians, cold and warm starts are kept apart; every way names a file and an environment that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.conftest import BENCHMARKS


def figures(**changes: Any) -> dict[str, Any]:
    return {
        "load_s": 1.0,
        "first_unet_call_after_s": 2.0,
        "first_image_after_s": 30.0,
        "guided_unet_call_s": [1.0, 3.0],
        "vae_encoder_s": [],
        "vae_decoder_s": [4.0],
        "edit_s": [20.0],
        "unet_calls": 20,
        "packages": {"torch": "2"},
        "peak_gb": 1.0,
        **changes,
    }


def test_the_first_round_is_cold_and_the_others_are_warm() -> None:
    from speed import summarize

    warm = figures(first_unet_call_after_s=1.0, first_image_after_s=10.0, edit_s=[30.0, 25.0], peak_gb=2.0)
    summary = summarize([figures(), warm])
    assert summary["first_image_cold_s"] == 30.0
    assert (summary["first_unet_call_cold_s"], summary["first_unet_call_warm_s"]) == (2.0, 1.0)
    assert summary["first_image_warm_s"] == 10.0
    assert (summary["edit_s"], summary["edit_s_lowest"], summary["edit_s_highest"]) == (25.0, 20.0, 30.0)
    assert summary["edits"] == 3
    assert summary["guided_unet_call_s"] == 2.0
    assert summary["vae_encoder_s"] is None
    assert (summary["peak_gb"], summary["peak_warm_gb"]) == (2.0, 2.0)
    assert summarize([figures()])["peak_warm_gb"] is None


def test_stages_alone_have_no_edit_and_no_first_image() -> None:
    from speed import summarize

    summary = summarize([figures(edit_s=[], first_image_after_s=None, unet_calls=None)])
    assert summary["edit_s"] is None and summary["edits"] == 0 and summary["unet_calls"] is None
    assert summarize([figures(unet_calls=20), figures(edit_s=[], unet_calls=None)])["unet_calls"] == 20
    assert summary["first_image_cold_s"] is None


def test_two_versions_of_one_package_are_both_listed() -> None:
    from speed import versions

    assert versions([[figures()], [figures(packages={"torch": "1"})]]) == {"torch": "2 and 1"}


def test_every_way_has_its_file_and_its_environment() -> None:
    from peers.environments import ENVIRONMENTS
    from speed import CONVERTERS, WAYS

    for way in WAYS.values():
        assert (BENCHMARKS / "peers" / f"{way.peer}.py").is_file()
        assert way.environment in ENVIRONMENTS
    assert {way.conversion for way in WAYS.values() if way.conversion} == set(CONVERTERS)
    assert set(CONVERTERS.values()) <= set(ENVIRONMENTS)


def test_files_go_out_of_memory_and_are_read_again(tmp_path: Path) -> None:
    """The system may keep the pages; the bytes must not change."""
    import page_cache

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weights").write_bytes(b"weights" * 1000)
    page_cache.drop(tmp_path)
    page_cache.warm(tmp_path)
    assert (tmp_path / "folder" / "weights").read_bytes() == b"weights" * 1000
