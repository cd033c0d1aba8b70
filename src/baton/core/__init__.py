"""The values that stages hand each other, the errors they raise and the ports they ask."""
