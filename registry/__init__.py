"""Registry: two models' scores on unseen rows come in; a verdict, a ledger entry and a registered version go out."""
