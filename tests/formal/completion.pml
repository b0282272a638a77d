/* SPDX-License-Identifier: Apache-2.0
 * The completion word, its parked waiters and its listeners: src/ndarray/completion.cc, step by step.
 *
 * Each atomic access of the code is one step here, in every order that threads can take them (sequential
 * consistency: the orderings of the code are not modelled). Checked: nobody reads early, no waiter sleeps for ever
 * (an invalid end state), every listener that was taken is called exactly once, and one that was refused or taken
 * back is not called.
 *
 * Variants that must fail, so that the check is known to bite:
 *   -DBROKEN_STORE    publish() stores where it must exchange: it cannot see that somebody parked
 *   -DBROKEN_FUTEX    the sleep does not look at the word again
 *   -DBROKEN_ADD      a listener is linked without another look at the word under the lock
 */
#define WAITERS 2
#define LISTENERS 2

#define PENDING 0
#define PARKED 1
#define READY 2

byte state = PENDING;
byte value = 0;               /* what is published */
bool sleeping[WAITERS];
bool lock = false;
bool linked[LISTENERS];       /* in the list */
bool refused[LISTENERS];      /* add() answered: already ready */
bool removed[LISTENERS];      /* remove() answered: taken back */
byte called[LISTENERS];

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

proctype completer() {
  byte before;
  byte i;
  byte next;
  value = 1;                                   /* publish() */
#ifdef BROKEN_STORE
  before = state;
  state = READY;
#else
  atomic { before = state; state = READY };
#endif
  if                                           /* tell() */
  :: before == PARKED -> atomic { for (i : 0 .. WAITERS - 1) { sleeping[i] = false } }
  :: else -> skip
  fi;
  do
  :: acquire();
     next = LISTENERS;
     for (i : 0 .. LISTENERS - 1) {
       if
       :: linked[i] -> next = i
       :: else -> skip
       fi
     }
     if
     :: next < LISTENERS -> linked[next] = false; release(); called[next]++
     :: else -> release(); break
     fi
  od
}

proctype waiter(byte id) {
  byte seen;
  do
  :: seen = state;
     if
     :: seen == READY -> break
     :: seen == PENDING ->
        atomic {                               /* compare_exchange(PENDING, PARKED) */
          if
          :: state == PENDING -> state = PARKED; seen = PARKED
          :: else -> skip
          fi
        }
     :: else -> skip
     fi;
     if
     :: seen == PARKED ->
        atomic {                               /* futex_wait(PARKED): looks and sleeps in one step */
#ifdef BROKEN_FUTEX
          sleeping[id] = true
#else
          if
          :: state == PARKED -> sleeping[id] = true
          :: else -> skip
          fi
#endif
        };
        !sleeping[id]                          /* until woken */
     :: else -> skip
     fi
  od;
  assert(value == 1)
}

proctype listener(byte id; bool takes_back) {
  acquire();                                   /* add() */
#ifdef BROKEN_ADD
  release();
  acquire();
  linked[id] = true;
#else
  if
  :: state == READY -> refused[id] = true
  :: else -> linked[id] = true
  fi;
#endif
  release();
  if
  :: refused[id] -> assert(value == 1)
  :: takes_back && !refused[id] ->
     acquire();                                /* remove() */
     if
     :: linked[id] -> linked[id] = false; removed[id] = true
     :: else -> skip
     fi;
     release()
  :: else -> skip
  fi;
  if
  :: refused[id] || removed[id] -> skip
  :: else -> called[id] > 0                    /* must come, or this is an invalid end state */
  fi
}

init {
  byte i;
  atomic {
    run completer();
    for (i : 0 .. WAITERS - 1) { run waiter(i) }
    run listener(0, false);
    run listener(1, true)
  };
  _nr_pr == 1;                                 /* everybody came to an end */
  for (i : 0 .. LISTENERS - 1) {
    assert(called[i] == ((refused[i] || removed[i]) -> 0 : 1))
  }
}
