"""A part of studies/mutated_files.py."""

import importlib
from pathlib import Path


def test_mutated_files_are_refused_or_load_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "studies")
    counts = importlib.import_module("mutated_files").try_files(300, tmp_path, seed=1)
    assert sum(counts.values()) == 300
    refused = sum(count for what, count in counts.items() if what.endswith("refused"))
    assert refused > 200
    # Without a digest that fits nothing gets in.
    for name in ("flipped", "flipped_in_header", "truncated", "prolonged", "zeroed", "shuffled_blocks", "no_model",
                 "claimed_length", "swapped_weights", "broken_weights", "foreign_class"):  # fmt: skip
        assert counts[f"{name}: refused"] > 5
        assert not counts[f"{name}: loaded with the same weights"]
