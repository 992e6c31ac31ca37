"""The command line: `verbs` has one file for each verb; the files beside it are what verbs share.

Entry: `__main__` (exit codes), `group` (the list of verbs, each imported when it runs), `colour`,
`standard_streams`, `crash_report`.
Options: `option_groups` (options that reach a verb as one argument), `parameter_types`, and the
groups: `open_spec` (the spec), `window_options`, `run_options` (training and searching),
`timing_options` (`bench`, `measure`), `plot_option`.
Printing: `output` (standard output and error), `quantities` (numbers with units), `cost_tables` and
`coloured_tables`, `text_histogram`, `progress_bar`, `event_loop` (all that runs for long).
Reports of one verb: `*_report`; and `bench_networks`, the networks that `bench` times.
"""
