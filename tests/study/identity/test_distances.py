"""Distances, partners of another patient and ranks, against plain computations and known cases."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.study.identity.distances import cosine, partners, retrieve, squared_distance

RNG = np.random.default_rng(11)


def test_the_squared_distance_is_the_frechet_distance_of_one_image_a_side() -> None:
    one, two = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 7))
    assert np.allclose(squared_distance(one, two), [((a - b) ** 2).sum() for a, b in zip(one, two, strict=True)])
    assert squared_distance(one, one).tolist() == [0.0] * 5


def test_distances_are_of_float64_also_of_large_float32() -> None:
    one = np.full((1, 4), 4096.0, np.float32)
    two = one + np.float32(1 / 2048)
    assert squared_distance(one, two)[0] == 4 / 2048**2


def test_the_distance_of_unit_vectors_follows_from_the_cosine() -> None:
    one, two = RNG.normal(size=(2, 6, 9))
    one, two = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, two))
    assert np.allclose(squared_distance(one, two), 2 - 2 * cosine(one, two))


def test_the_cosine_of_an_embedding_of_zeros_is_not_known() -> None:
    found = cosine([[0.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [3.0, 4.0]])
    assert np.isnan(found[0]) and found[1] == 1.0


@pytest.mark.parametrize(
    "patients",
    [[0, 1], [0, 1, 2, 3, 4], [0, 0, 1, 1], [0, 0, 0, 1, 1, 2], [3, 3, 1, 2, 1, 2, 0, 0], list(range(50)) * 2],
)
def test_partners_are_of_another_patient_and_each_once(patients: list[int]) -> None:
    codes = np.asarray(patients)
    for seed in range(20):
        found = partners(patients, np.random.default_rng(seed))
        assert (codes[found] != codes).all()
        assert sorted(found) == list(range(len(patients)))


def test_partners_where_one_patient_has_more_than_half() -> None:
    codes = np.asarray([0, 0, 0, 0, 0, 1, 2])
    for seed in range(20):
        found = partners(list(codes), np.random.default_rng(seed))
        assert (codes[found] != codes).all()


def test_partners_depend_on_the_seed_alone() -> None:
    patients = list(range(30))
    first, again, other = (partners(patients, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("patients", [[], [4], [4, 4]])
def test_without_another_patient_there_is_no_partner(patients: list[int]) -> None:
    assert partners(patients, RNG).tolist() == [-1] * len(patients)


def test_ranks_against_a_plain_loop() -> None:
    patients = [0, 0, 1, 2, 2, 3, 4]
    sources = RNG.normal(size=(7, 3))
    own = [0, 1, 2, 3, 4, 5, 6, 1, 4]
    queries = sources[own] + RNG.normal(size=(9, 3))
    found = retrieve(queries, own, sources, patients)
    for number, mine in enumerate(own):
        gallery = [mine] + [patients.index(p) for p in set(patients) if p != patients[mine]]
        distances = [((queries[number] - sources[each]) ** 2).sum() for each in gallery]
        assert found.rank[number] == 1 + sum(each < distances[0] for each in distances[1:])
        assert found.hit[number] == (distances[0] == min(distances))
    assert found.gallery == 5


def test_a_constant_embedding_finds_nobody() -> None:
    found = retrieve(np.full((4, 3), 0.3), [0, 1, 2, 3], np.full((4, 3), 0.3), [0, 1, 2, 3])
    assert found.rank.tolist() == [2.5] * 4  # the middle of four
    assert found.hit.tolist() == [0.25] * 4  # a draw among four


def test_exact_copies_find_their_source_however_long_the_vectors() -> None:
    sources = 1e4 + RNG.normal(size=(40, 16))
    found = retrieve(sources, list(range(40)), sources, list(range(40)))
    assert found.rank.tolist() == found.hit.tolist() == [1.0] * 40


def test_more_queries_than_a_block() -> None:
    sources = RNG.normal(size=(3, 2))
    own = [0, 1, 2] * 700
    assert retrieve(sources[own], own, sources, [0, 1, 2]).hit.min() == 1
