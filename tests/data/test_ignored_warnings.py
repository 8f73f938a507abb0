"""A block without warnings takes away its own filters alone, whatever other threads do at the time."""

import threading
import warnings

import pytest

from samovar_forecast.data.ignored_warnings import warnings_ignored


def test_only_what_is_named_is_ignored():
    recorded = warnings.catch_warnings(record=True, action="always")
    with recorded as told, warnings_ignored("fir", category=UserWarning):
        warnings.warn("first", UserWarning, stacklevel=1)
        warnings.warn("second", UserWarning, stacklevel=1)
        warnings.warn("first of another category", RuntimeWarning, stacklevel=1)
    assert [str(one.message) for one in told] == ["second", "first of another category"]


@pytest.mark.parametrize("first_out", [0, 1])
def test_blocks_that_overlap_leave_no_filter(first_out):
    before = list(warnings.filters)
    blocks = [warnings_ignored(category=RuntimeWarning), warnings_ignored(category=RuntimeWarning)]
    for block in blocks:
        block.__enter__()
    blocks[first_out].__exit__(None, None, None)
    with warnings.catch_warnings(record=True) as told:
        warnings.warn("while the other block runs", RuntimeWarning, stacklevel=1)
    assert not told
    blocks[1 - first_out].__exit__(None, None, None)
    assert warnings.filters == before


@pytest.mark.parametrize("theirs_first", [True, False])
def test_a_block_of_another_thread_that_copies_the_filters_keeps_none(theirs_first):
    before = list(warnings.filters)
    ours, theirs = warnings_ignored(category=RuntimeWarning), warnings.catch_warnings()
    first, second = (theirs, ours) if theirs_first else (ours, theirs)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert warnings.filters == before


def test_the_same_filter_of_the_user_stays():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        before = list(warnings.filters)
        with warnings_ignored(category=RuntimeWarning):
            pass
        assert warnings.filters == before


def test_many_threads_leave_the_filters_as_they_were():
    before, wrong = list(warnings.filters), []

    def work():
        for _ in range(300):
            with warnings_ignored(category=RuntimeWarning):
                try:
                    warnings.warn("ignored", RuntimeWarning, stacklevel=1)
                except RuntimeWarning as error:
                    wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert warnings.filters == before
