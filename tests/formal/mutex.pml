/* SPDX-License-Identifier: Apache-2.0
 * The mutex whose unlock is a plain store and a load: include/inflight/internal/mutex.h and src/base/mutex.cc.
 *
 * A processor's stores become visible to others later: the unlock of each thread lies in a buffer of one entry until
 * it drains, at any time, at the latest with the thread's next locked instruction. The barrier drains every buffer.
 * Checked: one thread at a time is inside, and nobody sleeps for ever (an invalid end state).
 *
 * Variants that must fail, so that the check is known to bite:
 *   -DBROKEN_BARRIER  the sleeper does not make the others pass the barrier
 *   -DBROKEN_COUNT    the sleeper counts itself after the barrier
 *   -DBROKEN_LOOK     the unlock looks at the sleepers before it stores
 *   -DBROKEN_FUTEX    the sleep does not look at the state again
 */
#define THREADS 3
#define ROUNDS 2

bool held = false;            /* as memory has it */
bool unlock_waits[THREADS];   /* the thread's store of "free" is in its buffer */
byte sleepers = 0;
bool asleep[THREADS];
byte inside = 0;

/* A locked instruction drains the buffer of its processor first. */
inline drain(who) {
  if
  :: unlock_waits[who] -> unlock_waits[who] = false; held = false
  :: else -> skip
  fi
}

active proctype memory() {
  byte who;
end:
  do
  :: atomic { unlock_waits[0] -> unlock_waits[0] = false; held = false }
  :: atomic { unlock_waits[1] -> unlock_waits[1] = false; held = false }
  :: atomic { unlock_waits[2] -> unlock_waits[2] = false; held = false }
  od
}

proctype thread(byte id) {
  byte round;
  byte i;
  byte seen;
  bool got;
  for (round : 1 .. ROUNDS) {
    /* lock(): the spin is one try here */
    atomic { drain(id); got = !held; held = true };
    if
    :: got -> skip
    :: else ->
#ifndef BROKEN_COUNT
       atomic { drain(id); sleepers++ };
#endif
#ifndef BROKEN_BARRIER
       atomic { for (i : 0 .. THREADS - 1) { drain(i) } };
#endif
#ifdef BROKEN_COUNT
       atomic { drain(id); sleepers++ };
#endif
       do
       :: atomic { drain(id); got = !held; held = true };
          if
          :: got -> break
          :: else -> skip
          fi;
#ifdef BROKEN_FUTEX
          asleep[id] = true;
#else
          atomic {                             /* futex_wait: the kernel compares under its own lock */
            drain(id);
            if
            :: held -> asleep[id] = true
            :: else -> skip
            fi
          };
#endif
          !asleep[id]
       od;
       atomic { drain(id); sleepers-- }
    fi;

    inside++;
    assert(inside == 1);
    inside--;

    /* unlock(): this thread's own load may pass its store */
#ifdef BROKEN_LOOK
    seen = sleepers;
    unlock_waits[id] = true;
#else
    unlock_waits[id] = true;
    seen = sleepers;
#endif
    if
    :: seen > 0 ->
       atomic {                                /* futex_wake_one, after the locked look */
         drain(id);
         if
         :: sleepers > 0 ->
            if
            :: asleep[0] -> asleep[0] = false
            :: asleep[1] -> asleep[1] = false
            :: asleep[2] -> asleep[2] = false
            :: else -> skip
            fi
         :: else -> skip
         fi
       }
    :: else -> skip
    fi
  }
}

init {
  atomic {
    byte i;
    for (i : 0 .. THREADS - 1) { run thread(i) }
  }
}
