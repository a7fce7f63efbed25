"""Running the steps of a plan: the schedule, papermill in warm kernels, progress."""
