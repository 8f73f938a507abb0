"""One loop on every backend of joblib, also on those that cannot hand over results one by one."""

from joblib import delayed, parallel_config, register_parallel_backend
from joblib.parallel import ThreadingBackend

from samovar_forecast.training.jobs import results_of


class AllAtOnce(ThreadingBackend):
    """As Ray's."""

    supports_return_generator = False


def test_results_come_in_their_order_from_every_backend():
    register_parallel_backend("all at once", AllAtOnce)
    for name in ("sequential", "threading", "loky", "all at once"):
        with parallel_config(backend=name, n_jobs=2):
            assert list(results_of(delayed(abs)(-number) for number in range(5))) == list(range(5))
    assert next(results_of(delayed(abs)(-number) for number in (7, 8))) == 7
