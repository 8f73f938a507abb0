"""sktime's own checks of the forecaster contract, for every class of the registry."""

from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from samovar_sktime import all_forecasters
from tests.conftest import narrow_intervals


@narrow_intervals
@parametrize_with_checks([cls for _, cls in all_forecasters()])
def test_contract(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)
