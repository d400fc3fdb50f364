"""The home on disk and its ledger; how bytes become durable."""
