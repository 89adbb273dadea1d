"""Live labels in SQL: people, rounds, judgments and the event log behind them; never torch."""
