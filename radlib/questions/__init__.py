"""One room per question of the study, and everything about it: a module, or a package where that is too long.

A room reads downwards:

    the csv       declared once as a `radlib.show.table.Table`: columns with meaning, title and form.
                  `TABLE.frame(rows)`, `.write(study, table)`, `.read(study)` and `.shown(study, table)`
                  follow from it, and so does its part of docs/tables.md. Columns that several tables have in
                  common stand in `radlib.show.table`.
    computation   `Study` and results in, a frame of the declared columns out. What is resampled is a
                  `radlib.stats.estimate.Estimate`: interval, p, equivalence, `a - b` and `mean_of` follow
                  from it; `estimate_columns` and `difference_columns` of `verdicts` turn one into columns.
                  Where some runs of a row diverged, its column `diverged` says so (`verdicts.diverged`).
    figures       differences by `radlib.show.style.forest`, other values with intervals by `style.intervals`,
                  else a figure of its own; at most about 40 marks, colour after Holm's correction.
    findings      table in, a list of `radlib.show.findings.Finding` out: subject, verdict, value, interval.
                  Data, not prose: `finding_of(row, subject)` makes one of a row, `findings_table` shows
                  them.

Its notebook calls all four, and `findings_table(...)` under "What follows". The summary takes its findings,
and the data dictionary its table, by a line in `radlib.report.findings.QUESTIONS`.

Rooms may use each other's computation (matched_labels resamples as auc does). They import from training,
networks and data, never from report or run. Columns of a csv keep their names and order: `make verify`
compares them.
"""
