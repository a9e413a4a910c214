"""The lint: rules that a machine can hold, and proof that it does."""
