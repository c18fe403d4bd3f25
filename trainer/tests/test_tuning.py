"""Rates and epochs are chosen on the training rows themselves, once, and not again after a kill."""

import json

import numpy as np
import pytest
import torch
from synthetic import USER, Workplace, columns, killed, log_loss, rows_of, settings_of, stopped

from freshet_trainer.checkpoint import Tuned
from freshet_trainer.errors import Stopped
from freshet_trainer.manifest import Rates
from freshet_trainer.train import Learned, Watch, learn

ROWS = 2_500


def noise(rows: int, seed: int = 0) -> dict:
    """Many ids with a few rows each, and labels that nothing explains: every further epoch only learns by heart."""
    rng = np.random.default_rng(seed)
    table = columns(rows, seed)
    return {**table, "user_id": rng.integers(1, rows // 3, rows), "label": rng.integers(0, 2, rows).astype(np.int8)}


def tuned(table: dict, features=(USER,), **hyperparameters) -> Learned:
    return learn(settings_of(features, tune=True, **hyperparameters), rows_of(table, features))


def test_it_chooses_few_epochs_where_more_only_learn_by_heart():
    learned = tuned(noise(ROWS), epochs=8, learning_rate=0.03)
    assert learned.checkpoint.tuned.epochs <= 2
    assert learned.result["metrics"]["epochs"] == learned.checkpoint.tuned.epochs


def test_it_chooses_more_epochs_where_they_help():
    # One number, one line to find, at a rate that does not find it in a pass; the config leaves no other way out.
    table = columns(ROWS)
    rate = {"learning_rate": 1e-5, "wide_learning_rate": 1e-4}
    assert tuned(table, epochs=6, **rate).checkpoint.tuned.epochs >= 3


def test_no_more_epochs_than_configured():
    assert tuned(columns(ROWS), epochs=1).result["metrics"]["epochs"] == 1


@pytest.mark.parametrize(("learning_rate", "expected"), [(1e-5, "up"), (3.0, "down")])
def test_a_rate_that_is_far_off_is_moved_towards_a_good_one(learning_rate, expected):
    features = (USER, {"kind": "numeric", "name": "age_ms", "transform": "log1p"})
    given = {"epochs": 1, "learning_rate": learning_rate, "wide_learning_rate": 1e-6}
    table, unseen = columns(ROWS), columns(1_000, seed=5)
    chosen = tuned(table, features, **given)
    factor = chosen.checkpoint.tuned.learning_rate_factor
    assert factor > 3 if expected == "up" else factor < 1 / 3
    plain = learn(settings_of(features, **given), rows_of(table, features))
    losses = [log_loss(unseen["label"], model.predict(rows_of(unseen, features))) for model in (chosen, plain)]
    assert losses[0] < losses[1]


def test_a_long_trial_gives_signs_of_life(monkeypatch):
    monkeypatch.setattr("freshet_trainer.train.SIGN_OF_LIFE_SECONDS", 0.0)
    signs = []
    watch = Watch(metric=lambda name, value: signs.append(value) if name == "tuningExamples" else None)
    learned = learn(settings_of((USER,), tune=True, epochs=1), rows_of(columns(ROWS), (USER,)), watch=watch)
    assert len(signs) > 10 and signs[-1] <= learned.result["tuningExamples"]


def test_what_was_chosen_is_told_and_kept():
    learned = tuned(columns(ROWS), epochs=2)
    kept, told = learned.checkpoint.tuned, learned.result
    assert told["tuned"]["learning_rate_factor"] == kept.learning_rate_factor
    assert told["tuningExamples"] > ROWS and told["metrics"]["tuningSeconds"] > 0
    assert told["metrics"]["wideRate"] == pytest.approx(0.1 * kept.wide_learning_rate_factor)
    # Trying is not training: it is told apart.
    assert told["examples"] == ROWS * kept.epochs


@pytest.mark.parametrize("strategy", ["warmStart", "incremental", "online"])
def test_a_child_goes_on_with_what_its_parent_found_out(strategy):
    chosen = Tuned(0.5, 0.25, 3, Rates(0.3, 1.0, 0.7))
    parent = learn(settings_of(), rows_of(columns(500)), tuned=chosen)
    assert parent.result["metrics"]["epochs"] == 3
    settings = settings_of(strategy=strategy, tune=True, warm_factor=1.0, wide_learning_rate=0.1)
    child = learn(settings, rows_of(columns(2_500, seed=1)), parent.checkpoint)
    assert child.checkpoint.tuned == chosen and child.result["tuningExamples"] == 0
    assert child.result["metrics"]["wideRate"] == pytest.approx(0.1 * 0.25)


@pytest.mark.parametrize(("tune", "rows"), [(False, ROWS), (True, 50)], ids=["not asked for", "too few rows"])
def test_as_configured_where_nothing_is_chosen(tune, rows):
    result = learn(settings_of(tune=tune, epochs=3), rows_of(columns(rows))).result
    assert (result["tuningExamples"], result["metrics"]["epochs"], result["tuned"]["results"]) == (0, 3, {})


def test_trials_that_went_astray_are_told_as_null_since_json_has_no_infinity():
    told: list[float | None] = []
    watch = Watch(metric=lambda _name, value: told.append(value))
    features = (USER, {"kind": "numeric", "name": "age_ms", "transform": "log1p"})
    settings = settings_of(features, tune=True, epochs=1, learning_rate=3e4)
    result = learn(settings, rows_of(columns(ROWS), features), watch=watch).result
    assert None in told and None in result["tuned"]["results"].values()
    json.dumps(result, allow_nan=False)


def test_a_trial_that_a_newer_trainer_adds_does_not_lose_what_was_trained():
    """Stopped in the training, and once more in a trial that the saved state does not have yet."""
    settings, rows = settings_of(tune=True, epochs=3, batch_size=250), rows_of(columns(ROWS))
    undisturbed, states = learn(settings, rows), []

    def stop_after(steps: int, saved: dict | None) -> dict:
        calls: list[bool] = []
        watch = Watch(stop=lambda: calls.append(True) or len(calls) > steps, save=states.append, saved=saved)
        with pytest.raises(Stopped):
            learn(settings, rows, watch=watch)
        return states[-1]

    steps = 20
    while not (state := stop_after(steps, None))["tensors"]:
        steps += 8
    last_trial = next(reversed(state["ledger"]["results"]))
    del state["ledger"]["results"][last_trial]
    state = stop_after(1, state)
    done = learn(settings, rows, watch=Watch(saved=state))
    assert torch.equal(done.checkpoint.tensors["wide"], undisturbed.checkpoint.tensors["wide"])


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Workplace:
    return tuning_place(tmp_path_factory.mktemp("tuned")).train()


def tuning_place(folder, **changes) -> Workplace:
    return Workplace(folder, columns(ROWS), hyperparameters={"tune": True, "epochs": 3}, **changes)


@pytest.mark.parametrize("end", [stopped, killed])
@pytest.mark.parametrize("steps", [1, 25, 90])
def test_a_search_that_was_ended_goes_on_and_chooses_the_same(tmp_path, straight, end, steps):
    place = tuning_place(tmp_path, checkpointEverySeconds=0)
    end(place, steps)
    place.train()
    assert place.result["tuned"] == straight.result["tuned"]
    assert place.bytes("model.onnx") == straight.bytes("model.onnx")
    assert place.result["tuningExamples"] <= straight.result["tuningExamples"]


def test_what_was_tried_is_not_tried_again():
    """However often it is stopped: every trial is finished once, and each try of the training gets further."""
    settings, rows = settings_of(tune=True, epochs=2, batch_size=250), rows_of(columns(ROWS))
    trials: list[str] = []
    state: dict | None = None

    def keep(saved: dict) -> None:
        nonlocal state
        state = saved

    for _ in range(100):
        calls: list[bool] = []
        # A trial takes up to 10 steps a pass; what was begun is lost, what was finished is not.
        watch = Watch(
            stop=lambda: calls.append(True) or len(calls) > 45,
            metric=lambda name, _value: trials.append(name),
            save=keep,
            saved=state,
        )
        try:
            done = learn(settings, rows, watch=watch)
            break
        except Stopped:
            continue
    assert len(trials) == len(set(trials)) == len(done.result["tuned"]["results"]) > 3
