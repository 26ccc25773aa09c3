"""`./run bench`: how fast batchform is, as ratios to what people know, measured in one run on one machine.

Machines are noisy and unlike; ratios of medians, taken in turns, are less so. `table` is where the goals stand.
"""
