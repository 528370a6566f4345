"""One room per question of the study, and everything about it.

A room is a folder with four modules:

    table.py     the csv, declared once as a `radlib.show.table.Table`: columns with meaning, unit, title and
                 form. `TABLE.frame(rows)`, `.write(study, table)`, `.read(study)` and `.shown(study, table)`
                 follow from it, and so does its part of docs/tables.md.
    compute.py   `Study` and results in, a frame of the declared columns out. What is resampled is a
                 `radlib.stats.estimate.Estimate`: interval, p, equivalence, `a - b` and `mean_of` follow from
                 it; `radlib.questions.verdicts.difference_columns` turns one into columns.
    figure.py    differences by `radlib.show.style.forest`, else a figure of its own; at most about 40 marks,
                 one scale over all panels, colour after Holm's correction (`style.ahead`).
    findings.py  table in, a list of `radlib.show.findings.Finding` out: subject, verdict, value, interval.
                 Data, not prose: `findings_table` shows them, `sentence` says one.

Its notebook calls compute, figure, `TABLE.shown`, and `findings_table(...)` under "What follows". The summary
takes its findings by a line in `radlib.report.findings.QUESTIONS`, the data dictionary its table by one in
`radlib.report.dictionary.TABLES`.

Rooms may use each other's compute (matched_labels resamples as auc does). They import from training, networks
and data, never from report or run. Columns of a csv keep their names and order: `make verify` compares them.
"""
