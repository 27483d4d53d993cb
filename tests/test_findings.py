"""Prompts, their recognition, and their file names."""

from __future__ import annotations

import pytest

from roentmod_fast.findings import BY_KEY, FINDINGS, PROMPTS, find_findings, negated_findings, prompt_slug


def test_the_seven_prompts_of_the_paper() -> None:
    assert PROMPTS == (
        "no acute cardiopulmonary process",
        "cardiomegaly",
        "edema",
        "middle lobe pneumonia",
        "right pleural effusion",
        "hernia",
        "left upper lobe mass",
    )
    assert list(BY_KEY) == [finding.key for finding in FINDINGS]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.key)
def test_each_wording_names_its_finding(finding: object) -> None:
    for wording in (finding.key, finding.prompt, *finding.wordings):
        assert find_findings(wording.upper()) == (finding.key,)


def test_several_findings_come_in_the_papers_order() -> None:
    assert find_findings("left upper lobe mass, hernia and edema") == ("edema", "hernia", "mass")
    assert find_findings("no acute cardiopulmonary process") == ()
    assert find_findings("massive haemorrhage") == ()


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("edema", "edema"),
        ("Right pleural effusion, large!", "right-pleural-effusion-large"),
        ("œdème périhilaire", "deme-perihilaire"),
        ("../../etc", "etc"),
        ("肺", "prompt"),
        ("a" * 200, "a" * 60),
    ],
)
def test_slugs_are_safe_file_names(prompt: str, slug: str) -> None:
    assert prompt_slug(prompt) == slug


@pytest.mark.parametrize(
    ("text", "stated", "negated"),
    [
        ("pleural effusions", ("effusion",), ()),
        ("Bilateral effusions", ("effusion",), ()),
        ("lung masses and hiatal hernias", ("hernia", "mass"), ()),
        ("herniae", ("hernia",), ()),
        ("pneumonias", ("pneumonia",), ()),
        ("mild oedema", ("edema",), ()),
        ("pericardial effusion", (), ()),
        ("free pleural effusion", ("effusion",), ()),
        ("non-cardiogenic edema", ("edema",), ()),
        ("no edema", (), ("edema",)),
        ("No edema, mass or effusions", (), ("edema", "effusion", "mass")),
        ("cardiomegaly without edema", ("cardiomegaly",), ("edema",)),
        ("without edema, but with cardiomegaly", ("cardiomegaly",), ("edema",)),
        ("no effusion. Large hiatal hernia", ("hernia",), ("effusion",)),
        ("edema resolved", (), ("edema",)),
        ("free of edema", (), ("edema",)),
        ("absence of pneumonia", (), ("pneumonia",)),
        ("mass removed; edema", ("edema",), ("mass",)),
        ("cardiomegaly w/o edema", ("cardiomegaly",), ("edema",)),
        ("rule out edema", (), ("edema",)),
        ("less edema", (), ("edema",)),
        ("effusion\nno mass", ("effusion",), ("mass",)),
        ("nodal edema", ("edema",), ()),
    ],
)
def test_plurals_are_findings_and_negated_ones_are_not(
    text: str, stated: tuple[str, ...], negated: tuple[str, ...]
) -> None:
    assert find_findings(text) == stated
    assert negated_findings(text) == negated
