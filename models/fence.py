"""Explicit-state check of the fenced cache protocol: one key, one bucket, one primary, one replica,
one Redis, two processes.

    python3 fence.py [RULE]...        check with these rules switched off (none: the whole protocol)

Each rule that is switched off must produce a violation, else it is not needed (what shows it is in
brackets):
lease       a fill lands only if its own lease is still in the key
nonce       every lease has a holder of its own                           [BOUNDS="1 0 2 1"]
floor       a fill reads only a node that has replayed the bucket's floor
postcommit  the position is taken after COMMIT returned, not inside the transaction
bookmark    a session's bookmark (position, incarnation, seq) bounds replica reads and L1 hits
unknown     a record made anew has an unknown floor (primary only), never the
            writer's own                                                  [BOUNDS="2 2 1 0"]
settle      a floor is settled only by a poll begun after its incarnation was
            seen                                                          [BOUNDS="2 2 1 0"]
inorder     messages and replies reach a process in Redis's order, L1 is filled with the reply
landed      L1 is filled only after an L2 hit or a fill that landed
sample      a sampled position dies when the replica restarts                 [EVENTS=restart]
server      a record made by another Redis counts as missing                  [EVENTS=failover]
join        a caller joins a load in flight only if the key was not
            invalidated since                                             [EVENTS=join]
order       (WRITE=through) a put lands only if the writer's in-transaction position is at
            least the floor

BOUNDS="writes evictions reads-of-process-0 reads-of-process-1" (default "2 1 1 1"), EVENTS="restart
failover join", WRITE=invalidate|through
"""

import os
import sys
from collections import deque
from typing import NamedTuple

OFF = set(sys.argv[1:])
EVENTS = set(os.environ.get("EVENTS", "").split())
THROUGH = os.environ.get("WRITE") == "through"
WRITES, EVICTS, *READS = map(int, os.environ.get("BOUNDS", "2 1 1 1").split())
# Process 0 reads with no bookmark, process 1 with that of the newest finished commit.
READS = tuple(READS)
NONE = (0, None, 0, 0)  # no bookmark: position, incarnation, seq, version


class Rec(NamedTuple):  # a bucket's record
    inc: int
    srv: int
    seq: int = 0
    floor: object = None  # None = unknown
    high: int = 0  # highest position seen while unknown


class S(NamedTuple):
    lsn: int = 0  # primary WAL position == number of commit records
    vis: int = 0  # version that a primary snapshot sees
    rep: int = 0  # replica replay position == version that a replica snapshot sees
    smp: object = 0  # sampled replay position, None = no sample
    srv: int = 0  # which Redis answers
    rec: object = Rec(0, 0, 0, 0)
    l2: tuple = ()  # ((incarnation, version | ('L', nonce)), ...)
    incs: int = 1
    nonces: int = 0
    snap: object = None  # what Redis's replica has
    inv: int = 0  # newest version whose invalidation Redis has applied
    q: tuple = ((), ())  # per process, on their way: (incarnation, seq, version)
    view: tuple = (0, 0)  # per process: incarnation it believes, None = none
    appl: tuple = (0, 0)
    l1: tuple = (None, None)
    invp: tuple = (0, 0)  # per process: newest version invalidated there
    res: object = None  # one settler: (position, incarnation it saw)
    w: int = 0  # 1 = commit record written, not yet visible
    post: tuple = ()  # committed writers: (version, position or None)
    mark: tuple = NONE
    rd: tuple = (None, None)  # (stage, value, nonce, floor, dirty, bookmark, incarnation)
    left: tuple = (WRITES, EVICTS) + READS


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def valid(s):
    return s.rec is not None and ("server" in OFF or s.rec.srv == s.srv)


def made(s):
    """The state with a record for sure; a new one is announced to every process."""
    if valid(s):
        return s
    inc = s.incs
    floor = 0 if "unknown" in OFF else None
    return s._replace(
        rec=Rec(inc, s.srv, 0, floor), incs=inc + 1, q=tuple(x + ((inc, 0, 0),) for x in s.q)
    )


def cell(s, inc):
    return dict(s.l2).get(inc)


def store(s, inc, v):
    cells = dict(s.l2)
    cells.pop(inc, None)
    if v is not None:
        cells[inc] = v
    return s._replace(l2=tuple(sorted(cells.items(), key=lambda c: c[0])))


def deliver(s, p, n=None):
    """Process p handles its first n messages (all, if None)."""
    for inc, seq, ver in s.q[p][:n]:
        r = s.rd[p]
        s = s._replace(
            view=put(s.view, p, inc),
            appl=put(s.appl, p, seq),
            l1=put(s.l1, p, None),
            invp=put(s.invp, p, max(s.invp[p], ver)),
            rd=put(s.rd, p, r[:4] + (True,) + r[5:]) if r else s.rd,
        )
    return s._replace(q=put(s.q, p, () if n is None else s.q[p][n:]))


def done(s, p, v, r, keep):
    """Reader p ends with v; keep: L1 may have it."""
    l1 = s.l1
    stage = "done"
    if keep or "landed" in OFF:
        if "inorder" in OFF:
            stage = "l1"  # the store is a later step of its own, with nothing to hold it back
        else:
            l1 = put(s.l1, p, v)
    return s._replace(l1=l1, rd=put(s.rd, p, (stage, v) + r[2:]))


def steps(s):
    w, e = s.left[:2]
    if not s.w and w:
        yield "commit-record", s._replace(lsn=s.lsn + 1, w=1, left=put(s.left, 0, w - 1))
    if s.w:
        early = s.lsn - 1 if "postcommit" in OFF else None
        yield "visible", s._replace(vis=s.lsn, w=0, post=s.post + ((s.lsn, early),))
    for i, (ver, pos) in enumerate(s.post):
        if pos is None:
            yield f"position{ver}", s._replace(post=put(s.post, i, (ver, s.lsn)))
        else:
            fresh = not valid(s)
            t = made(s)
            rec = t.rec
            lands = (
                THROUGH
                and not fresh
                and rec.floor is not None
                and ("order" in OFF or ver - 1 >= rec.floor)
            )
            if fresh and "unknown" in OFF:
                rec = rec._replace(floor=pos)
            elif rec.floor is None:
                rec = rec._replace(high=max(rec.high, pos))
            else:
                rec = rec._replace(floor=max(rec.floor, pos))
            rec = rec._replace(seq=rec.seq + 1)
            t = store(t, rec.inc, ver if lands else None)
            mark = (max(pos, t.mark[0]), rec.inc, rec.seq, max(ver, t.mark[3]))
            yield (
                f"{'put' if lands else 'invalidate'}{ver}",
                t._replace(
                    rec=rec,
                    inv=max(t.inv, ver),
                    q=tuple(x + ((rec.inc, rec.seq, ver),) for x in t.q),
                    post=t.post[:i] + t.post[i + 1 :],
                    mark=mark,
                ),
            )
    if s.rep < s.lsn:
        yield "replay", s._replace(rep=s.rep + 1)
    if s.smp != s.rep:
        yield "sample", s._replace(smp=s.rep)
    if e:
        if "restart" in EVENTS and s.rep:
            yield (
                "replica-restarts-further-back",
                s._replace(
                    rep=s.rep - 1,
                    smp=s.smp if "sample" in OFF else None,
                    left=put(s.left, 1, e - 1),
                ),
            )
        for inc, _ in s.l2:
            yield "evict-key", store(s, inc, None)._replace(left=put(s.left, 1, e - 1))
        if s.rec is not None:
            yield "evict-record", s._replace(rec=None, left=put(s.left, 1, e - 1))
        if "failover" in EVENTS and s.snap is None:
            yield (
                "redis-replica-has-this",
                s._replace(snap=(s.rec, s.l2), left=put(s.left, 1, e - 1)),
            )
    if "failover" in EVENTS and isinstance(s.snap, tuple):
        yield (
            "redis-fails-over",
            s._replace(
                rec=s.snap[0],
                l2=s.snap[1],
                snap=0,
                srv=s.srv + 1,
                q=((), ()),
                view=(None, None),
                appl=(0, 0),
                l1=(None, None),
                rd=tuple(r[:4] + (True,) + r[5:] if r else r for r in s.rd),
            ),
        )
    if valid(s) and s.rec.floor is None and s.res is None:
        yield "settler.poll", s._replace(res=(s.lsn, s.rec.inc))
    if "settle" in OFF and s.res is None:
        yield "settler.poll-early", s._replace(res=(s.lsn, None))
    if s.res is not None:
        ok = valid(s) and s.rec.floor is None and ("settle" in OFF or s.rec.inc == s.res[1])
        yield (
            "settler.set",
            s._replace(
                res=None, rec=s.rec._replace(floor=max(s.rec.high, s.res[0])) if ok else s.rec
            ),
        )
    for p in (0, 1):
        if s.q[p]:
            yield f"message{p}", deliver(s, p, 1)
        r = s.rd[p]
        if r is None:
            if s.left[2 + p]:
                mark = s.mark if p == 1 else NONE
                t = s._replace(left=put(s.left, 2 + p, s.left[2 + p] - 1))
                covered = mark[1] is None or (s.view[p] == mark[1] and s.appl[p] >= mark[2])
                other = s.rd[1 - p]
                if (
                    "join" in EVENTS
                    and p == 1
                    and other
                    and other[0] == "fill"
                    and (mark[3] == 0 or "join" in OFF)
                ):
                    yield (
                        "r1.joins",
                        t._replace(
                            rd=put(s.rd, p, ("done", other[1], None, None, False, mark, None))
                        ),
                    )
                if s.l1[p] is not None and (covered or "bookmark" in OFF):
                    yield (
                        f"r{p}.l1-hit",
                        t._replace(
                            rd=put(s.rd, p, ("done", s.l1[p], None, None, False, mark, None))
                        ),
                    )
                else:
                    yield (
                        f"r{p}.start",
                        t._replace(rd=put(s.rd, p, ("get", None, None, None, False, mark, None))),
                    )
            continue
        stage, val, nonce, floor, _dirty, mark, inc = r
        if stage == "get":  # GET, and on a miss the lease script
            t = s if "inorder" in OFF else deliver(s, p)
            r = t.rd[p]
            believed = t.view[p]
            if believed is not None and isinstance(cell(t, believed), int):
                yield f"r{p}.l2-hit", done(t, p, cell(t, believed), r, True)
            else:
                t = made(t)
                if "inorder" not in OFF:
                    t = deliver(t, p)
                if t.view[p] != t.rec.inc:
                    t = t._replace(
                        view=put(t.view, p, t.rec.inc),
                        appl=put(t.appl, p, t.rec.seq),
                        l1=put(t.l1, p, None),
                    )
                r, now = t.rd[p], cell(t, t.rec.inc)
                if isinstance(now, int):
                    yield f"r{p}.l2-hit", done(t, p, now, r, True)
                elif now is not None and "lease" not in OFF:
                    yield (
                        f"r{p}.lease-held",
                        t._replace(rd=put(t.rd, p, ("db", None, None, 0, r[4], mark, t.rec.inc))),
                    )
                    yield (
                        f"r{p}.lease-taken-over",
                        store(t, t.rec.inc, ("L", 0 if "nonce" in OFF else t.nonces + 1))._replace(
                            nonces=t.nonces + 1,
                            rd=put(
                                t.rd,
                                p,
                                (
                                    "db",
                                    None,
                                    0 if "nonce" in OFF else t.nonces + 1,
                                    t.rec.floor,
                                    r[4],
                                    mark,
                                    t.rec.inc,
                                ),
                            ),
                        ),
                    )
                else:
                    n = 0 if "nonce" in OFF else t.nonces + 1
                    yield (
                        f"r{p}.lease",
                        store(t, t.rec.inc, ("L", n))._replace(
                            nonces=t.nonces + 1,
                            rd=put(t.rd, p, ("db", None, n, t.rec.floor, r[4], mark, t.rec.inc)),
                        ),
                    )
        elif stage == "db":
            need = max(
                0 if "floor" in OFF or floor is None else floor, 0 if "bookmark" in OFF else mark[0]
            )
            if s.smp is not None and s.smp >= need and (floor is not None or "floor" in OFF):
                yield f"r{p}.replica", s._replace(rd=put(s.rd, p, ("fill", s.rep) + r[2:]))
            yield f"r{p}.primary", s._replace(rd=put(s.rd, p, ("fill", s.vis) + r[2:]))
        elif stage == "fill":
            if nonce is None:
                yield f"r{p}.nofill", done(s, p, val, r, False)
            else:
                t = s if "inorder" in OFF else deliver(s, p)
                ok = (
                    valid(t)
                    and t.rec.inc == inc
                    and ("lease" in OFF or cell(t, inc) == ("L", nonce))
                )
                t = store(t, inc, val) if ok else t
                yield f"r{p}.fill{'' if ok else '-refused'}", done(t, p, val, t.rd[p], ok)
        elif stage == "l1":
            yield (
                f"r{p}.l1-store",
                s._replace(l1=put(s.l1, p, val), rd=put(s.rd, p, ("done",) + r[1:])),
            )
        else:
            yield f"r{p}.end", s._replace(rd=put(s.rd, p, None))


def bad(s):
    if valid(s):
        v = cell(s, s.rec.inc)
        if isinstance(v, int) and v < s.inv:
            return f"L2 holds version {v} after the invalidation of {s.inv}"
    for p in (0, 1):
        if s.l1[p] is not None and s.l1[p] < s.invp[p]:
            heard = f"the invalidation of {s.invp[p]} arrived there"
            return f"L1 of process {p} holds version {s.l1[p]} after {heard}"
        if s.l1[p] is not None and not s.q[p] and s.l1[p] < s.inv and "failover" not in EVENTS:
            kept = f"version {s.l1[p]} for good, after the invalidation of {s.inv}"
            return f"L1 of process {p} holds {kept}"
        r = s.rd[p]
        if r and r[0] == "done" and r[1] < r[5][3]:
            return f"reader {p} got version {r[1]}, its session had committed {r[5][3]}"


def main():
    seen = {S(): None}
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
                f"VIOLATION without {sorted(OFF) or 'nothing'}: {why}\n  "
                + " > ".join(reversed(path))
            )
            return 1
        for name, n in steps(s):
            if n not in seen:
                seen[n] = (s, name)
                todo.append(n)
    print(f"holds in all {len(seen)} states")
    return 0


sys.exit(main())
