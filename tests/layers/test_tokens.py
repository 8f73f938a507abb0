"""Segments, patches, and context and main tokens."""

import pytest
import torch

from samovar_forecast.layers.tokens import ARXTokens, count_patches, split_patches, split_segments


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_segments_are_padded_on_the_left():
    series = torch.arange(1.0, 8.0).reshape(1, 1, 7)
    assert split_segments(series, 3)[0, 0].tolist() == [[0, 0, 1], [2, 3, 4], [5, 6, 7]]


def test_tokens_interleave_context_and_main():
    tokens = ARXTokens(n_series=3, n_targets=2, segment_length=4, d_model=8, univariate=False)
    segments = torch.randn(5, 3, 6, 4)
    embedded = tokens(segments)
    torch.testing.assert_close(embedded[:, :, 1::2], tokens.main_norm(tokens.main(segments[:, 1:])))
    mixed = torch.einsum("tc,bcns->btns", tokens.mixture.weight, segments) + tokens.mixture.bias[:, None, None]
    torch.testing.assert_close(embedded[:, :, ::2], tokens.context_norm(tokens.context(mixed)))


def test_univariate_context_tokens_are_zero():
    tokens = ARXTokens(n_series=3, n_targets=3, segment_length=4, d_model=8, univariate=True)
    assert (tokens(torch.randn(2, 3, 5, 4))[:, :, ::2] == 0).all()


@pytest.mark.parametrize(("length", "patch", "stride"), [(512, 16, 8), (100, 16, 8), (10, 10, 8), (7, 4, 3), (5, 4, 1)])
def test_overlapping_patches_are_padded_by_a_stride(length, patch, stride):
    series = random(2, 3, length)
    padded = torch.cat([series, series[..., -1:].expand(2, 3, stride)], -1)
    starts = [start for start in range(length + stride - patch + 1) if start % stride == 0]
    expected = torch.stack([padded[..., start : start + patch] for start in starts], -2)
    assert torch.equal(split_patches(series, patch, stride), expected)
    assert count_patches(length, patch, stride) == len(starts)
    assert starts[-1] + patch >= length  # the newest value is in a patch


@pytest.mark.parametrize(("length", "patch", "n_patches"), [(5, 1, 5), (8, 4, 2), (9, 4, 3)])
def test_other_patches_are_padded_to_a_whole_number(length, patch, n_patches):
    patches = split_patches(random(2, length), patch, patch)
    assert patches.shape == (2, n_patches, patch)
    assert count_patches(length, patch, patch) == n_patches
    assert torch.equal(patches.flatten(1)[:, :length], random(2, length))
    assert (patches.flatten(1)[:, length:] == random(2, length)[:, -1:]).all()
