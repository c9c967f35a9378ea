"""What could mislead about data and models is said: by ``data``, ``run``, ``export``, the card and the notebooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import waves, write_data

from tsc_lib import cli
from tsc_lib.analysis.findings import accuracy, collapse
from tsc_lib.core import store


def test_a_model_is_flagged_that_does_no_better_than_one_label_for_all() -> None:
    row = pd.Series({"classes_predicted": 3, "accuracy": 0.6, "largest_class_share": 0.5})
    assert collapse(row) == ""
    assert "gives every test series the same label" in collapse(row.replace({3: 1}))
    told = collapse(row.replace({0.6: 0.5}))
    assert told.startswith("is right for 50.0 % of the test series, no more than the 50.0 % of always giving")
    failed = pd.Series({"classes_predicted": np.nan, "accuracy": np.nan, "largest_class_share": np.nan})
    assert collapse(failed) == ""


def test_the_notebook_tells_copies_and_models_below_the_largest_class(results: pd.DataFrame) -> None:
    plain = accuracy(results, pd.DataFrame(columns=["dataset", "method", "accuracy", "version"]))
    assert "Copies" not in plain and "No better" not in plain
    plaid = results.dataset == "PLAID"
    copied = results.assign(
        test_in_train=np.where(plaid, 67, 0), accuracy_unseen=np.where(plaid, 0.5, results.accuracy)
    )
    copied.loc[plaid & (results.model == "T2") & (results.seed == 1), "largest_class_share"] = 0.99
    told = accuracy(copied, pd.DataFrame(columns=["dataset", "method", "accuracy", "version"]))
    assert "**Copies in PLAID**: 67 test series are also in its training file" in told and "T1 50.0 % and not" in told
    assert "**No better than the most frequent label for all**: T2 on PLAID (seed 1)." in told


@pytest.mark.sessions
def test_commands_and_card_tell_copies_and_a_collapse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    train = waves(6, "a") + waves(6, "b") + waves(1, "c")
    folder = write_data(tmp_path / "made", train, [*train[:1], *train[6:8], *waves(3, "a", seed=1)])
    options = ["--dataset", folder, "--epochs", "1", "--batch-sizes", "1", "--recipe", "baseline", "--runtime", "eager"]
    said = []
    for command in (["data", folder], ["run", *options], ["export", str(tmp_path / "model"), *options]):
        assert cli.main(command) == 0
        said.append(capsys.readouterr().out)
    for text in (*said, (tmp_path / "model" / "model_card.md").read_text()):
        assert "3 test series of 6 (50.0 %) are also in the training file" in text
        assert "Class c is without a validation series, for want of a second training series." in text
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert "| accuracy without copies of training series |" in card
    assert "of which 3 are copies of training series; the other 3 took no part in training" in card
    assert "accuracy_unseen" in said[1]
    told = ["warning: baseline in eager" in said[1], "warning: baseline in eager" in said[2], "Do not use it" in card]
    assert len(set(told)) == 1 and told[0] == ("1 of 3" in card or "no more than" in card)
