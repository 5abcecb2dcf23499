"""Public test doubles: tiny and planted models, the conformance suite of engines, tables of families and templates."""
