"""Contributors' checks: the contract between queries and rows, plans, the migration lint, generated files. Not in the wheel."""
