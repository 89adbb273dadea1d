"""Gauges: samples and logs in, readings with intervals and verdicts out."""
