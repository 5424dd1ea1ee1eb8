"""Ids: random ones for what comes from outside, derived ones for what follows."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from xml_pipeline.threads.ids import DerivedIds, random_ids


def test_random_ids_are_version_4_and_their_bytes_are_injected() -> None:
    take, again = random_ids(lambda size: bytes(range(256)) * (size // 256)), random_ids()
    taken = [take() for _ in range(300)]
    assert taken[0].replace("-", "") == bytes(range(240, 256)).hex().replace("f6f7", "46f7", 1).replace(
        "f8", "b8"
    )
    # bits of their own: not those of the digit before
    assert taken[1].replace("-", "") == bytes(range(224, 240)).hex().replace("e6e7", "46e7").replace(
        "e8", "a8"
    )
    for each in [*taken, *(again() for _ in range(600))]:
        uuid = UUID(each)
        assert (uuid.version, uuid.variant, str(uuid)) == (4, RFC_4122, each)
    assert len({again() for _ in range(5_000)}) == 5_000


def test_derived_ids_follow_from_their_seed_alone_for_ever() -> None:
    ids, again, other = DerivedIds("seed"), DerivedIds("seed"), DerivedIds("seed/2")
    taken = [ids.new_id() for _ in range(5_000)]
    assert taken == [again.new_id() for _ in range(5_000)]
    assert len({*taken, *(other.new_id() for _ in range(5_000))}) == 10_000
    for each in taken[:100]:
        uuid = UUID(each)
        assert (uuid.version, uuid.variant, str(uuid)) == (8, RFC_4122, each)
    # Written down: a journal of today names the same messages in ten years.
    assert taken[:2] == ["f006f35d-e25b-8ce4-8166-b61852000001", "f006f35d-e25b-8ce4-8166-b61852000002"]
