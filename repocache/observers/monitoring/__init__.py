"""What Prometheus and Grafana are given beside the metrics: recording and alert rules, and a
dashboard. Files of this package, also printed by

    python -m repocache.observers.monitoring rules > repocache_rules.yml
    python -m repocache.observers.monitoring dashboard > repocache.json
"""

from __future__ import annotations

import re
from importlib.resources import files

from repocache.errors import ConfigurationError

RULES = "prometheus_rules.yml"
DASHBOARD = "grafana_dashboard.json"
PAGE = "docs/on-call.md"
"""Where each alert is explained, as the rules name it."""
NAMESPACE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def prometheus_rules(*, namespace: str = "repocache", page: str = PAGE) -> str:
    """The rules, as YAML. `namespace`: that of `PrometheusMetrics`. `page`: the address of the page
    "On call", to which the annotation `runbook_url` of each alert leads. Raises ConfigurationError
    for what cannot begin the name of a metric."""
    return _named(RULES, namespace).replace(PAGE, page)


def grafana_dashboard(*, namespace: str = "repocache") -> str:
    """The dashboard, as JSON; its data source is one of its variables. `namespace` and
    errors as of `prometheus_rules`."""
    return _named(DASHBOARD, namespace)


def _named(file: str, namespace: str) -> str:
    if not NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            f"namespace={namespace!r}: give letters, digits and _, as to PrometheusMetrics"
        )
    text = files(__name__).joinpath(file).read_text(encoding="utf-8")
    return re.sub(r"\brepocache([_:])", rf"{namespace}\1", text)
