"""What an answer lacks that was put together from several."""

from pipeline.view.coverage import EVERYTHING, Coverage, Shard, covered, joined

ONE, TWO, THREE = (Shard(name, frozenset({number})) for number, name in enumerate(("one", "two", "three")))


def lacking(shard: Shard) -> Coverage:
    silent = Shard(shard.worker, shard.partitions, "it said nothing")
    return covered([silent if each is shard else each for each in (ONE, TWO, THREE)], range(3))


def test_it_lacks_what_any_of_them_lacks():
    together = joined([lacking(TWO), lacking(THREE)])
    assert together.missing == (1, 2)
    assert [shard.worker for shard in together.shards if shard.problem] == ["two", "three"]
    assert not together.is_complete


def test_whole_answers_make_a_whole_one():
    assert joined([covered([ONE, TWO, THREE], range(3)), EVERYTHING]).is_complete
    assert joined([]).is_complete
