"""The layering of an application: what answers a read, from the browser to the primary, and what
each tier owns for how long. As values, text, Mermaid and SVG."""
