"""Grafana dashboards, recording and alert rules of Keyweave, as code.

`python -m dashboards` writes `generated/*.json` and `rules/*.yaml`; with `--check` it only says what differs.
"""
