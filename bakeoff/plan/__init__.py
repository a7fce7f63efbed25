"""From parameters to steps: what data, weights and machine are there; two keys a step; what is to run and why."""
