"""Configuration for edges that one runs oneself: files of this package, also printed by

python -m repocache.edges.config varnish > /etc/varnish/default.vcl
python -m repocache.edges.config nginx > /etc/nginx/conf.d/repocache.conf
"""

from __future__ import annotations

from importlib.resources import files

VARNISH = "varnish.vcl"
NGINX = "nginx.conf"


def varnish_vcl() -> str:
    """VCL 4.1, whole; what is above its line is to be changed."""
    return _text(VARNISH)


def nginx_conf() -> str:
    """What goes into `http { ... }`; what is above its line is to be changed."""
    return _text(NGINX)


def _text(file: str) -> str:
    return files(__name__).joinpath(file).read_text(encoding="utf-8")
