import pytest
import torch

from samovar_forecast.layers.column_sums import column_sums


@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (2, 4, 5, 3), (0, 3), (2, 0, 3)])
def test_it_sums_over_all_dimensions_but_the_last(shape):
    rows = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(column_sums(rows), rows.sum(tuple(range(len(shape) - 1))))


def test_sums_of_half_precision_are_made_in_single_precision():
    sums = column_sums(torch.ones(3, 1000, 2, dtype=torch.bfloat16))
    assert sums.dtype == torch.float32
    assert sums.tolist() == [3000.0, 3000.0]
