"""Which of the many settings that a sweep went through are worth measuring well."""

LEVELS = (0.90, 0.95, 0.99)
MODES = (("recall", "qps"), ("recall_batch", "qps_batch"))
_TRIES, _FRONT = 2, 6


def pareto(points, recall, rate):
    """Points that none beats in both recall and queries/s, by rising recall."""
    front = []
    for point in sorted(points, key=lambda point: (-point[recall], -point[rate])):
        if not front or point[rate] > front[-1][rate]:
            front.append(point)
    return front[::-1]


def best_at(points, level, recall, rate, count=1):
    """The `count` fastest points that reach a recall."""
    return sorted((point for point in points if point[recall] >= level), key=lambda point: -point[rate])[:count]


def contenders(points):
    """Of one index's scouted points (all configs, one query file): the best for each level and mode, and the line for the plot.

    Several per level, since one pass orders close ones by chance.
    """
    chosen = []
    for recall, rate in MODES:
        front = pareto(points, recall, rate)
        chosen += front[:: -(-len(front) // _FRONT)] if front else []
        for level in LEVELS:
            chosen += best_at(points, level, recall, rate, _TRIES)
    return [point for number, point in enumerate(chosen) if point not in chosen[:number]]
