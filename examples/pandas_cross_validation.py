"""Cross-validate and tune a forecaster on a DataFrame with scikit-learn: the frame is passed as it is.

Each fold trains on the rows before its test rows and is scored on the forecast of those rows.
"""

from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

from samovar_forecast import SAMoVARForecaster, datasets

y = datasets.load_demo()  # monthly carbon dioxide and sea temperature, 526 rows
forecaster = SAMoVARForecaster(
    horizon=12, context_length=60, d_model=32, n_heads=4, n_layers=1, max_epochs=10, learning_rate=3e-3,
    random_state=0, device="cpu",
)  # fmt: skip

# Three tests of two years each. The score is minus the mean squared error, in training standard deviations.
folds = TimeSeriesSplit(n_splits=3, test_size=24)
scores = cross_val_score(forecaster, y, cv=folds)
print(f"mean squared error in {len(scores)} folds:", ", ".join(f"{-score:.3f}" for score in scores))

search = GridSearchCV(forecaster, {"context_length": [36, 60]}, cv=TimeSeriesSplit(n_splits=2, test_size=24))
search.fit(y)
print(f"best of the grid: {search.best_params_}, mean squared error {-search.best_score_:.3f}")

print("\nThe next six months, from the best forecaster trained on all rows:")
print(search.best_estimator_.predict().head(6).round(2))
