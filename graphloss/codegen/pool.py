"""LLVM IR of a small thread pool: one job at a time, its chunks taken by compare-and-swap, sleep by futex.

A job is a function ``void fn(ptr ctx, i64 begin, i64 end)`` over chunks 0…n-1. The thread that dispatches takes chunks
too, so a job ends however late the workers are; it then waits only for chunks that a worker has begun.

State (one global, each word on a cache line of its own, since each has other writers):

=========  ====  ==============================================================================================
ticket     i64   generation << 32 | chunks not yet taken. Taking one is a compare-and-swap from r > 0 to r - 1,
                 which can only succeed while its job is unfinished: so the words of ``job``, read in between,
                 are of that job, and a worker that comes late can never touch a job that is over.
job        4xi64 function, context, number of chunks, floating-point mode of the dispatching thread: a worker takes
                 it on, or a caller that flushes denormals would get bits that depend on the number of threads
pending    i32   chunks not yet finished; bit 31: the dispatching thread sleeps on this word
sleepers   i32   workers that sleep, or are about to
epoch      i32   what they sleep on; counts the calls to wake up
limit      i32   workers with a number below it take part, the others sleep on this word; negative: all return
busy       i32   a job is in progress; whoever finds that runs its own job alone (nested, concurrent dispatch)
spin       i32   how often to look again before sleeping
=========  ====  ==============================================================================================

A sleeper counts itself, reads the epoch, looks at the ticket once more, and sleeps only if the epoch is still the same.
A dispatch writes the ticket and then looks for sleepers. All four are sequentially consistent: one of them sees the
other.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SPIN_OFFSET", "SYMBOLS", "pool_ir", "supported"]

SYMBOLS: Final = (
    "graphloss_dispatch",
    "graphloss_worker",
    "graphloss_set_limit",
    "graphloss_reset",
    "graphloss_pause",
    "graphloss_pool",
)

LINE: Final = 128  # two cache lines: processors fetch them in pairs
WORDS: Final = ("ticket", "job", "pending", "sleepers", "epoch", "limit", "busy", "spin")
OFFSET: Final = {word: n * LINE for n, word in enumerate(WORDS)}
SPIN_OFFSET: Final = OFFSET["spin"]

# By architecture as LLVM names it: the number of the futex call, and the instruction that eases a spinning processor.
_FUTEX: Final = {"x86_64": 202, "aarch64": 98}
_PAUSE: Final = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.isb(i32)", "call void @llvm.aarch64.isb(i32 15)"),
}
_MODE: Final = {
    "x86_64": (
        "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
        """call void @llvm.x86.sse.stmxcsr(ptr %mode.at)
  %mode.narrow = load i32, ptr %mode.at, align 4
  %mode = zext i32 %mode.narrow to i64""",
        "store i64 %mode, ptr %mode.at, align 8\n  call void @llvm.x86.sse.ldmxcsr(ptr %mode.at)",
    ),
    "aarch64": (
        "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
        "%mode = call i64 @llvm.aarch64.get.fpcr()",
        "call void @llvm.aarch64.set.fpcr(i64 %mode)",
    ),
}
_FUTEX_WAIT: Final = 128  # FUTEX_WAIT | FUTEX_PRIVATE_FLAG
_FUTEX_WAKE: Final = 129


def supported(triple: str) -> bool:
    """Whether the pool can be made for this platform: Linux with a futex call that we know."""
    return "linux" in triple and triple.partition("-")[0] in _FUTEX


def pool_ir(triple: str) -> str:
    """The IR of the pool for a platform that is `supported`; it imports libc's ``syscall``."""
    arch = triple.partition("-")[0]
    declare_pause, pause = _PAUSE[arch]
    declare_mode, get_mode, set_mode = _MODE[arch]
    word = {name: f"getelementptr inbounds (i8, ptr @graphloss_pool, i64 {OFFSET[name]})" for name in WORDS}
    word |= {
        "job_ctx": f"getelementptr inbounds (i8, ptr @graphloss_pool, i64 {OFFSET['job'] + 8})",
        "job_n": f"getelementptr inbounds (i8, ptr @graphloss_pool, i64 {OFFSET['job'] + 16})",
        "job_mode": f"getelementptr inbounds (i8, ptr @graphloss_pool, i64 {OFFSET['job'] + 24})",
    }
    pointers = {name: f"ptr {address}" for name, address in word.items()}
    return _TEXT.format(
        size=len(WORDS) * LINE,
        line=LINE,
        futex=_FUTEX[arch],
        futex_wait=_FUTEX_WAIT,
        futex_wake=_FUTEX_WAKE,
        declare_pause=declare_pause,
        pause=pause,
        declare_mode=declare_mode,
        get_mode=get_mode,
        set_mode=set_mode,
        **pointers,
    )


_TEXT: Final = """\
@graphloss_pool = global [{size} x i8] zeroinitializer, align {line}

declare i64 @syscall(i64, ...)
{declare_pause}
{declare_mode}

define internal void @futex_wait(ptr %word, i32 %seen) {{
  %r = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 {futex_wait}, i32 %seen, ptr null, ptr null, i32 0)
  ret void
}}

define internal void @futex_wake(ptr %word, i32 %count) {{
  %r = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 {futex_wake}, i32 %count, ptr null, ptr null, i32 0)
  ret void
}}

; Spin n times and do nothing else: how Python learns what one turn costs.
define void @graphloss_pause(i64 %n) {{
entry:
  br label %turn
turn:
  %i = phi i64 [ 0, %entry ], [ %i.next, %turn ]
  {pause}
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %n
  br i1 %more, label %turn, label %out
out:
  ret void
}}

; The job without the pool.
define internal void @serial(ptr %fn, ptr %ctx, i64 %n) {{
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %run, label %out
run:
  call void %fn(ptr %ctx, i64 0, i64 %n)
  br label %out
out:
  ret void
}}

; Take chunks of the present job until none is left, then say how many were finished.
define internal void @take_chunks() {{
entry:
  %mode.at = alloca i64, align 8
  br label %look
look:
  %taken = phi i32 [ 0, %entry ], [ %taken, %try ], [ %taken.next, %run ]
  %ticket = load atomic i64, {ticket} seq_cst, align 8
  %left = trunc i64 %ticket to i32
  %none = icmp eq i32 %left, 0
  br i1 %none, label %finish, label %try
try:
  %fn.bits = load atomic i64, {job} monotonic, align 8
  %ctx.bits = load atomic i64, {job_ctx} monotonic, align 8
  %n = load atomic i64, {job_n} monotonic, align 8
  %mode = load atomic i64, {job_mode} monotonic, align 8
  %ticket.next = sub i64 %ticket, 1
  %swap = cmpxchg {ticket}, i64 %ticket, i64 %ticket.next seq_cst seq_cst, align 8
  %won = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %won, label %run, label %look
run:
  %fn = inttoptr i64 %fn.bits to ptr
  %ctx = inttoptr i64 %ctx.bits to ptr
  %left.wide = zext i32 %left to i64
  %begin = sub i64 %n, %left.wide
  %end = add i64 %begin, 1
  {set_mode}
  call void %fn(ptr %ctx, i64 %begin, i64 %end)
  %taken.next = add i32 %taken, 1
  br label %look
finish:
  %idle = icmp eq i32 %taken, 0
  br i1 %idle, label %out, label %report
report:
  ; After this the job may be over and its context gone.
  %before = atomicrmw sub {pending}, i32 %taken seq_cst, align 4
  %after = sub i32 %before, %taken
  %last = icmp eq i32 %after, -2147483648
  br i1 %last, label %wake, label %out
wake:
  call void @futex_wake({pending}, i32 1)
  br label %out
out:
  ret void
}}

define void @graphloss_dispatch(ptr %fn, ptr %ctx, i64 %n) {{
entry:
  %mode.at = alloca i64, align 8
  %limit = load atomic i32, {limit} monotonic, align 4
  %no.workers = icmp slt i32 %limit, 1
  %few = icmp slt i64 %n, 2
  %many = icmp sgt i64 %n, 2147483647
  %odd = or i1 %few, %many
  %alone.already = or i1 %odd, %no.workers
  br i1 %alone.already, label %alone, label %lock
lock:
  %swap = cmpxchg {busy}, i32 0, i32 1 seq_cst seq_cst, align 4
  %mine = extractvalue {{ i32, i1 }} %swap, 1
  br i1 %mine, label %publish, label %alone
alone:
  call void @serial(ptr %fn, ptr %ctx, i64 %n)
  ret void
publish:
  %fn.bits = ptrtoint ptr %fn to i64
  %ctx.bits = ptrtoint ptr %ctx to i64
  store atomic i64 %fn.bits, {job} monotonic, align 8
  store atomic i64 %ctx.bits, {job_ctx} monotonic, align 8
  store atomic i64 %n, {job_n} monotonic, align 8
  {get_mode}
  store atomic i64 %mode, {job_mode} monotonic, align 8
  %n.narrow = trunc i64 %n to i32
  store atomic i32 %n.narrow, {pending} monotonic, align 4
  %ticket = load atomic i64, {ticket} monotonic, align 8
  %ticket.end = or i64 %ticket, 4294967295
  %generation = add i64 %ticket.end, 1
  %ticket.new = or i64 %generation, %n
  store atomic i64 %ticket.new, {ticket} seq_cst, align 8
  %sleepers = load atomic i32, {sleepers} seq_cst, align 4
  %asleep = icmp sgt i32 %sleepers, 0
  br i1 %asleep, label %wake, label %work
wake:
  %epoch = atomicrmw add {epoch}, i32 1 seq_cst, align 4
  %others = sub i32 %n.narrow, 1
  call void @futex_wake({epoch}, i32 %others)
  br label %work
work:
  call void @take_chunks()
  %spin = load atomic i32, {spin} monotonic, align 4
  br label %wait
wait:
  %turn = phi i32 [ 0, %work ], [ %turn.next, %again ]
  %pending = load atomic i32, {pending} acquire, align 4
  %done = icmp eq i32 %pending, 0
  br i1 %done, label %finish, label %again
again:
  {pause}
  %turn.next = add i32 %turn, 1
  %patient = icmp slt i32 %turn, %spin
  br i1 %patient, label %wait, label %ask
ask:
  %asked = atomicrmw or {pending}, i32 -2147483648 seq_cst, align 4
  br label %check
check:
  %now = load atomic i32, {pending} seq_cst, align 4
  %over = icmp eq i32 %now, -2147483648
  br i1 %over, label %finish, label %sleep
sleep:
  call void @futex_wait({pending}, i32 %now)
  br label %check
finish:
  store atomic i32 0, {busy} release, align 4
  ret void
}}

define void @graphloss_worker(i32 %id) {{
entry:
  br label %gate
gate:
  %limit = load atomic i32, {limit} seq_cst, align 4
  %end = icmp slt i32 %limit, 0
  br i1 %end, label %out, label %admit
admit:
  %member = icmp slt i32 %id, %limit
  br i1 %member, label %work, label %park
park:
  call void @futex_wait({limit}, i32 %limit)
  br label %gate
work:
  call void @take_chunks()
  %spin = load atomic i32, {spin} monotonic, align 4
  br label %look
look:
  %turn = phi i32 [ 0, %work ], [ %turn.next, %again ]
  %ticket = load atomic i64, {ticket} monotonic, align 8
  %left = trunc i64 %ticket to i32
  %some = icmp ne i32 %left, 0
  br i1 %some, label %gate, label %again
again:
  {pause}
  %turn.next = add i32 %turn, 1
  %patient = icmp slt i32 %turn, %spin
  br i1 %patient, label %look, label %rest
rest:
  %s0 = atomicrmw add {sleepers}, i32 1 seq_cst, align 4
  %epoch = load atomic i32, {epoch} seq_cst, align 4
  %limit.now = load atomic i32, {limit} seq_cst, align 4
  %same = icmp eq i32 %limit.now, %limit
  br i1 %same, label %recheck, label %rise
recheck:
  %ticket.now = load atomic i64, {ticket} seq_cst, align 8
  %left.now = trunc i64 %ticket.now to i32
  %nothing = icmp eq i32 %left.now, 0
  br i1 %nothing, label %sleep, label %rise
sleep:
  call void @futex_wait({epoch}, i32 %epoch)
  br label %rise
rise:
  %s1 = atomicrmw sub {sleepers}, i32 1 seq_cst, align 4
  br label %gate
out:
  ret void
}}

; Let workers 0 to limit-1 take part; negative: let all return.
define void @graphloss_set_limit(i32 %limit) {{
  store atomic i32 %limit, {limit} seq_cst, align 4
  %epoch = atomicrmw add {epoch}, i32 1 seq_cst, align 4
  call void @futex_wake({epoch}, i32 2147483647)
  call void @futex_wake({limit}, i32 2147483647)
  ret void
}}

; In a forked child, where no worker lives: forget whatever was in progress.
define void @graphloss_reset() {{
  %ticket = load atomic i64, {ticket} seq_cst, align 8
  %ticket.end = and i64 %ticket, -4294967296
  store atomic i64 %ticket.end, {ticket} seq_cst, align 8
  store atomic i32 0, {pending} seq_cst, align 4
  store atomic i32 0, {sleepers} seq_cst, align 4
  store atomic i32 0, {limit} seq_cst, align 4
  store atomic i32 0, {busy} seq_cst, align 4
  ret void
}}
"""
