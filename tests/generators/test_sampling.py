from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from harness.types import Sampling
from harness_plugins.generators.sampling import inverse_cdf, truncate, uniforms


@pytest.mark.parametrize(
    ("sampling", "warper"),
    [
        (Sampling(top_k=7), TopKLogitsWarper(7)),
        (Sampling(top_p=0.6), TopPLogitsWarper(0.6)),
        (Sampling(min_p=0.2), MinPLogitsWarper(0.2)),
    ],
)
def test_truncation_keeps_what_transformers_keeps(sampling, warper):
    logps_N_V = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)).mul(3).log_softmax(-1)
    expected = warper(None, logps_N_V.clone())
    assert torch.equal(truncate(logps_N_V, sampling).isinf(), expected.isinf())


def test_truncation_always_leaves_the_best_token():
    logps_1_V = torch.tensor([[3.0, 1.0, 2.0]]).log_softmax(-1)
    kept = truncate(logps_1_V, Sampling(top_p=1e-6, top_k=1, min_p=1.0))
    assert kept.isinf().tolist() == [[False, True, True]]


def test_inverse_cdf_by_hand():
    logps_N_V = torch.tensor([[0.25, 0.0, 0.5, 0.25]]).log().expand(5, 4)
    uniforms_N = torch.tensor([0.0, 0.2499, 0.25, 0.7501, 0.999999], dtype=torch.float64)
    assert inverse_cdf(logps_N_V, uniforms_N).tolist() == [0, 0, 2, 3, 3]


def test_inverse_cdf_over_many_blocks_is_that_of_one_cumulated_sum():
    made = torch.Generator().manual_seed(0)
    logps_N_V = (torch.randn(2000, 1111, generator=made) * 3).log_softmax(-1)
    logps_N_V[:, 300:800] = -torch.inf  # a block and more without any probability
    uniforms_N = torch.rand(2000, generator=made, dtype=torch.float64)
    cdf_N_V = logps_N_V.double().exp().cumsum(-1)
    expected = (cdf_N_V <= uniforms_N[:, None] * cdf_N_V[:, -1:]).sum(-1)
    assert (inverse_cdf(logps_N_V, uniforms_N) != expected).sum() <= 1  # the sums are rounded in another order
    last = (logps_N_V > -torch.inf).long().cumsum(-1).argmax(-1)
    assert (inverse_cdf(logps_N_V, torch.ones(2000, dtype=torch.float64)) <= last).all()


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2**31))
def test_a_token_without_probability_is_never_drawn(u, seed):
    logps_1_V = torch.randn(1, 30, generator=torch.Generator().manual_seed(seed))
    logps_1_V[0, ::2] = -torch.inf
    assert inverse_cdf(logps_1_V, torch.tensor([u], dtype=torch.float64)).item() % 2 == 1


def test_uniforms_have_one_stream_per_key_and_a_longer_limit_appends():
    stream = uniforms(1, "p", 0, 100)
    assert np.array_equal(uniforms(1, "p", 0, 1000)[:100], stream)
    others = [uniforms(2, "p", 0, 100), uniforms(1, "q", 0, 100), uniforms(1, "p", 1, 100)]
    assert all(not np.intersect1d(stream, other).size for other in others)
