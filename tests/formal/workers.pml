/* SPDX-License-Identifier: Apache-2.0
 * The engine's workers: src/engine/workers.cc. Who sleeps, who looks for work, and who wakes whom.
 *
 * Two threads add operations; two workers take them, a few at a time into a queue of their own, where the other
 * one finds them. The first operation ends only when all the others have run: so none may be left in a queue while
 * a worker sleeps. Checked: each operation runs exactly once, and nobody waits for ever (an invalid end state).
 *
 * Variants that must fail:
 *   -DBROKEN_SLEEP   a worker looks for the last time before it takes the lock under which it falls asleep
 *   -DBROKEN_FOUND   a worker that has found work and leaves more does not wake the next
 */
#define OPS 4
#define WORKERS 2

bool lock;
byte queue;            /* operations in the common queue; which ones does not matter, but for the first */
byte first_in = 255;   /* where the first one is: 0 common queue, 1 + w the own queue of worker w, 255 nowhere */
byte own[WORKERS];
byte asleep;
byte looking;
byte calls;            /* the word on which they sleep */
byte ran;
bool stopping;

#define IN_SIGHT (queue > 0 || own[0] > 0 || own[1] > 0)

/* Requires the lock. */
inline call_one(wake) {
  wake = false;
  if
  :: asleep > 0 && looking == 0 -> asleep--; looking++; wake = true
  :: else -> skip
  fi;
  if
  :: wake -> calls++
  :: else -> skip
  fi
}

proctype adder(bool has_first; byte count) {
  bool wake;
  do
  :: count > 0 ->
     atomic { !lock -> lock = true };
     d_step {
       queue++;
       count--;
       if
       :: has_first -> first_in = 0; has_first = false
       :: else -> skip
       fi;
       call_one(wake)
     };
     lock = false
  :: else -> break
  od
}

proctype worker(byte self) {
  bool wake; bool got; bool is_first; bool am_looking = false; bool in_sight;
again:
  /* take(): one's own, the common queue, the other's */
  got = false;
  is_first = false;
  if
  :: atomic { own[self] > 0 -> own[self]--; got = true;
       if :: first_in == 1 + self -> is_first = true; first_in = 255 :: else -> skip fi }
  :: else ->
     if
     :: queue > 0 ->
        atomic { !lock -> lock = true };
        d_step {
          if
          :: queue > 0 ->
             got = true;
             if :: first_in == 0 -> is_first = true; first_in = 255 :: else -> skip fi;
             own[self] = own[self] + queue - 1;
             queue = 0
          :: else -> skip
          fi
        };
        lock = false
     :: else ->
        if
        :: atomic { own[1 - self] > 0 -> own[1 - self]--; got = true;
             if :: first_in == 2 - self -> is_first = true; first_in = 255 :: else -> skip fi }
        :: else -> skip
        fi
     fi
  fi;
  if
  :: got ->
     if
     :: am_looking ->   /* stop_looking() */
        am_looking = false;
        atomic { !lock -> lock = true };
        d_step {
          looking--;
          wake = false;
#ifndef BROKEN_FOUND
          if
          :: IN_SIGHT -> call_one(wake)
          :: else -> skip
          fi
#endif
        };
        lock = false
     :: else -> skip
     fi;
     if
     :: is_first -> ran == OPS - 1   /* it is held up until the others have run */
     :: else -> skip
     fi;
     ran++;
     goto again
  :: else -> skip
  fi;
  /* start_looking(), or to sleep, as somebody looks */
  if
  :: !am_looking ->
     atomic { !lock -> lock = true };
     d_step {
       if
       :: looking < 1 || stopping -> looking++; am_looking = true
       :: else -> asleep++
       fi
     };
     lock = false
  :: else -> skip
  fi;
  if
  :: !am_looking -> goto sleeps
  :: else -> skip
  fi;
  if
  :: stopping -> goto done
  :: IN_SIGHT -> goto again
  :: true -> skip    /* the time is over */
  fi;
  /* fall_asleep() */
#ifdef BROKEN_SLEEP
  in_sight = IN_SIGHT;
  atomic { !lock -> lock = true };
#else
  atomic { !lock -> lock = true };
  in_sight = IN_SIGHT;
#endif
  if
  :: in_sight || stopping -> lock = false; goto again
  :: else ->
     d_step { looking--; am_looking = false; asleep++ };
     lock = false
  fi;
sleeps:
  atomic { calls > 0 -> calls-- };
  am_looking = true;   /* whoever called has counted it */
  goto again;
done:
  skip
}

init {
  atomic {
    run adder(true, 2); run adder(false, 2); run worker(0); run worker(1)
  };
  ran == OPS;
  /* ~Workers */
  atomic { !lock -> lock = true };
  d_step { stopping = true; calls = calls + asleep; looking = looking + asleep; asleep = 0 };
  lock = false;
  _nr_pr == 1
}
