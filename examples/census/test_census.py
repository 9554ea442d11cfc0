"""The tests of the census: a cluster and a direct count agree, over a few files. Nothing has to be started for them."""

import pytest

from census.count import COLUMNS, add_up, count_file, source_files
from census.tasks import census, measure, tally

FILES = 30


@pytest.fixture(scope="session")
def grpcflow_worker_parameters():
    return {"concurrency": 1}  # to have no warnings of what is parsed is a matter of the whole process


@pytest.fixture(scope="module")
def packages():
    return source_files(FILES)


def test_a_census_equals_a_direct_count(grpcflow_cluster, packages):
    answer = census(packages).delay().get(timeout=60)
    names = [name for group in packages.values() for name in group]
    assert answer["total"] == add_up(map(count_file, names))
    assert answer["total"]["files"] == len(names) == FILES
    assert len(grpcflow_cluster.calls(measure)) == FILES


def test_each_package_is_tallied_once_and_the_largest_comes_first(grpcflow_cluster, packages):
    rows = census(packages).delay().get(timeout=60)["packages"]
    assert sorted(row["package"] for row in rows) == sorted(packages)
    assert [row["lines"] for row in rows] == sorted((row["lines"] for row in rows), reverse=True)
    assert len(grpcflow_cluster.calls(tally)) == len(packages)


def test_what_is_no_file_fails_the_census(grpcflow_cluster):
    with pytest.raises(Exception, match=r"no_such_module\.py"):
        census({"nothing": ["no_such_module.py"]}).delay().get(timeout=60)


def test_columns_add_up():
    assert add_up([dict.fromkeys(COLUMNS, 1), dict.fromkeys(COLUMNS, 2)]) == dict.fromkeys(COLUMNS, 3)
