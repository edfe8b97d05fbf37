"""Medians, ranges and ratios of pairs, as text."""

from statistics import median

COLUMNS = (("total_ms", "total ms", 0), ("blackout_ms", "blackout ms", 1),
           ("gap_ms", "longest gap ms", 1),
           ("downtime_ms", "engine downtime ms", 1), ("cpu_s_per_gib", "CPU s/GiB", 2),
           ("monitor_cpu_s_per_gib", "without vCPUs", 2))


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


def cells(runs, peers):
    """One table: a row a peer, then a row of ratios a rival. The first peer is ours."""
    rows = [[""] + [title for key, title, _ in COLUMNS if values(runs, peers[0], key)]]
    shown = [(key, digits) for key, _, digits in COLUMNS if values(runs, peers[0], key)]
    for peer in peers:
        rows.append([peer] + [ranged(values(runs, peer, k), digits) for k, digits in shown])
    for rival in peers[1:]:
        rows.append([f"{peers[0]} / {rival}"] +
                    [ranged(ratios(runs, peers[0], rival, k), 2) for k, _ in shown])
    return rows


def lines(runs, peers):
    """The same, aligned."""
    rows = cells(runs, peers)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]


def bars(runs, ours, theirs):
    """What the project promises: (text, kept) for blackout and total."""
    found = []
    for key, title, digits in COLUMNS[:2]:
        a, b = values(runs, ours, key), values(runs, theirs, key)
        if a and b:
            kept = median(a) <= median(b)
            found.append((f"{title}: {median(a):.{digits}f} against {median(b):.{digits}f}, "
                          f"{'no worse' if kept else 'WORSE'}", kept))
    return found
