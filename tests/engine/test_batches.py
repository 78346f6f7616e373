"""Rows on the device and the minibatches cut from them."""

import numpy as np
import pytest
import torch

from skvae._engine.batches import Rows, chunks, looked_at, minibatches


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def table(n=10):
    x = np.arange(2.0 * n).reshape(n, 2)
    x[3, 1] = np.nan
    return x


def test_missing_cells_are_masked_and_finite():
    rows = Rows.from_numpy(table())
    expected = np.ones((10, 2))
    expected[3, 1] = 0.0
    np.testing.assert_array_equal(rows.observed, expected)
    np.testing.assert_array_equal(rows.x, np.nan_to_num(table()))


def test_a_whole_table_has_no_mask():
    assert Rows.from_numpy(table()[:3]).observed is None


def test_the_array_given_is_not_written_to():
    x = table()
    x.setflags(write=False)
    rows = Rows.from_numpy(x)
    rows.x.add_(1.0)
    np.testing.assert_array_equal(x, table())


@pytest.mark.parametrize("x", [np.asfortranarray(table()), table()[::2], table(20)[:10]])
def test_any_layout_of_the_array_is_read(x):
    np.testing.assert_array_equal(Rows.from_numpy(x).x, np.nan_to_num(x))


def test_weights_are_scaled_to_mean_one():
    rows = Rows.from_numpy(table(), np.linspace(1.0, 7.0, 10))
    assert float(rows.weight.mean()) == pytest.approx(1.0)
    values = torch.arange(10.0)
    assert float(rows.mean(values)) == pytest.approx(np.average(values, weights=np.linspace(1.0, 7.0, 10)))


def test_without_weights_the_mean_is_plain():
    assert float(Rows.from_numpy(table()).mean(torch.arange(10.0))) == pytest.approx(4.5)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
def test_an_epoch_holds_every_row_once(batch_size):
    rows = Rows.from_numpy(table(), np.arange(1.0, 11.0))
    batches = list(minibatches(rows, batch_size, stream()))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    order = torch.cat([batch.x[:, 0] for batch in batches]).argsort()
    for name in ("x", "observed", "weight"):
        together = torch.cat([getattr(batch, name) for batch in batches])[order]
        assert torch.equal(together, getattr(rows, name)), name


def test_order_follows_the_generator_and_moves_on():
    rows, order = Rows.from_numpy(table()), stream()
    first, second = (torch.cat([b.x for b in minibatches(rows, 4, order)]) for _ in range(2))
    again = torch.cat([b.x for b in minibatches(rows, 4, stream())])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_batches_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    list(minibatches(Rows.from_numpy(table()), 4, stream()))
    assert torch.equal(torch.get_rng_state(), before)


def test_chunks_keep_the_order():
    rows = Rows.from_numpy(table())
    parts = list(chunks(rows, 4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.x for part in parts]), rows.x)
    assert torch.equal(torch.cat([part.observed for part in parts]), rows.observed)


@pytest.mark.parametrize("gathered", [1, 8, 2**18])
def test_what_the_encoder_sees_goes_with_its_rows(gathered, monkeypatch):
    monkeypatch.setattr("skvae._engine.batches.GATHERED", gathered)
    rows, looked = Rows.from_numpy(table(), np.arange(1.0, 11.0)), []

    def look(some):
        looked.append(len(some))
        return torch.cat([some.x, some.observed], 1)

    batches = list(minibatches(rows, 3, stream(), look))
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]
    assert looked == {1: [3, 3, 3, 1], 8: [3, 3, 3, 1], 2**18: [10]}[gathered]
    for batch, plain in zip(batches, minibatches(rows, 3, stream()), strict=True):
        assert torch.equal(batch.x, plain.x)
        assert torch.equal(batch.seen, torch.cat([plain.x, plain.observed], 1))


def test_what_is_seen_is_kept_where_there_is_room(monkeypatch):
    rows = Rows.from_numpy(table())

    def look(some):
        return torch.cat([some.x, some.observed], 1)

    kept = looked_at(rows, look)
    assert torch.equal(kept.seen, look(rows))
    monkeypatch.setattr("skvae._engine.batches.KEPT", kept.seen.numel() - 1)
    assert looked_at(rows, look) is None
