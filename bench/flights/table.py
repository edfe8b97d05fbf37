"""Medians, ranges and ratios of pairs, as text."""

from statistics import median

TITLES = {"total_ms": ("total ms", 0), "blackout_ms": ("blackout ms", 2),
          "gap_ms": ("longest gap ms", 1), "usual_gap_ms": ("gap before ms", 1),
          "downtime_ms": ("engine downtime ms", 1), "cpu_s_per_gib": ("CPU s/GiB", 2),
          "monitor_cpu_s_per_gib": ("without vCPUs", 2), "resident_mib": ("resident MiB", 0),
          "work_lost_s": ("work lost s", 2)}


def values(runs, peer, key):
    return [r[key] for r in runs if r["peer"] == peer and key in r]


def ranged(numbers, digits):
    if not numbers:
        return "-"
    return (f"{median(numbers):.{digits}f}"
            f" ({min(numbers):.{digits}f}..{max(numbers):.{digits}f})")


def ratios(runs, ours, theirs, key):
    """Ours over theirs, of the runs of the same round."""
    pairs = zip(values(runs, ours, key), values(runs, theirs, key))
    return [a / b for a, b in pairs if b > 0]


def cells(runs, peers, columns):
    """One table: a row a peer, then a row of ratios a rival. The first peer is ours."""
    keys = [key for key in columns if values(runs, peers[0], key)]
    rows = [[""] + [TITLES[key][0] for key in keys]]
    for peer in peers:
        rows.append([peer] + [ranged(values(runs, peer, k), TITLES[k][1]) for k in keys])
    for rival in peers[1:]:
        rows.append([f"{peers[0]} / {rival}"] +
                    [ranged(ratios(runs, peers[0], rival, k), 2) for k in keys])
    return rows


def lines(runs, peers, columns):
    """The same, aligned."""
    rows = cells(runs, peers, columns)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
