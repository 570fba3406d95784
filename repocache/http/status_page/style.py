"""The page's style: one text, allowed by its hash; beside it is the map's alone."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #545d66; --ground: #fbfbfa;
  --panel: #ffffff; --line: #d8dcdf; --accent: #0b5cad; --good: #17663a; --bad: #a3141f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a6aeb6;
  --ground: #14171a; --panel: #1b1f23; --line: #363c42; --accent: #7db8f5; --good: #79cf9a;
  --bad: #ff9a94; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; background: var(--panel); padding: .25rem .5rem; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .35rem 0; }
.soft, caption, footer { color: var(--soft); }
ul.sections { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .75rem 0;
  padding: 0; }
.wide { overflow-x: auto; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .5rem .75rem; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .75rem; border-top: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
thead th { font-size: .85rem; color: var(--soft); font-weight: 600; white-space: normal;
  vertical-align: bottom; }
th[scope=row] { font-weight: 600; min-width: 7rem; white-space: normal;
  overflow-wrap: anywhere; }
.number { text-align: right; }
.words { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.figure { display: inline-block; min-width: 4rem; }
meter { width: 6rem; height: .8rem; vertical-align: middle; margin-right: .5rem; }
svg { display: block; max-width: 100%; min-width: 40rem; height: auto; margin: 0 auto; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 0 1rem; }
footer { padding-top: 1rem; padding-bottom: 2rem; font-size: .9rem; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
