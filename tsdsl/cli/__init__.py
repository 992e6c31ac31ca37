"""The command line: `verbs` has one file for each verb; the files beside it are what verbs share.

Entry: `__main__` (exit codes), `group` (the list of verbs, each imported when it runs), `colour`,
`standard_streams`, `crash_report`.
Options: `parameter_types`, `options`, and those of a kind of verb: `run_options` (training and
searching), `timing_options` (`bench`, `measure`), `plot_option`; `open_spec` opens what they name.
Printing: `output` (standard output and error), `quantities` (numbers with units), `cost_tables` and
`coloured_tables`, `text_histogram`, `progress_bar`, `training_progress`.
Reports of one verb: `space_report`, `search_plan_report`, `eval_report`, `bench_report`; and
`bench_networks`.
"""
