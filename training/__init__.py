"""Training: a frozen snapshot comes in; a fitted model and its evaluation on unseen rows go out."""
