"""The prediction log, labels as they arrive and a reference profile come in; drift and performance reports go out."""
