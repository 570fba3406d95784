"""Breadth-first search of a model's world for a state that breaks a promise: the shortest way to it
is printed.

A model gives its first state, `steps(state)` -> (name, next state)..., and `bad(state)` -> what is
broken, or None.
"""

from collections import deque


def search(start, steps, bad, off):
    """Prints what was found; 1 if that is a violation. `off`: rules that the world lives
    without."""
    seen = {start: None}
    todo = deque(seen)
    while todo:
        s = todo.popleft()
        why = bad(s)
        if why:
            path = []
            while seen[s]:
                s, name = seen[s]
                path.append(name)
            print(
                f"VIOLATION without {sorted(off) or 'nothing'}: {why}\n  "
                + " > ".join(reversed(path))
            )
            return 1
        for name, n in steps(s):
            if n not in seen:
                seen[n] = (s, name)
                todo.append(n)
    print(f"holds in all {len(seen)} states")
    return 0


def rules_off(rules, names):
    """The names as a set. Raises SystemExit for one that is no rule."""
    unknown = sorted(set(names) - set(rules))
    if unknown:
        raise SystemExit(
            f"no such rule: {', '.join(unknown)}; there are: {', '.join(sorted(rules))}"
        )
    return set(names)
