"""How numbers are shown: declared tables, findings, the style of figures."""
