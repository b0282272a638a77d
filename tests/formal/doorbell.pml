/* SPDX-License-Identifier: Apache-2.0
 * The threads of a device whose launches do not block: src/runtime/doorbell.h, run_work() and poller.cc. Who is called
 * for a frame, and who launches it.
 *
 * A submitter brings frames. The launcher sleeps until it is called. The poller looks at its word, ends what has been
 * launched, runs code of a user then or not, and sleeps once nothing is out. That code may hold it up until every frame is
 * launched for which there is room. Checked: each frame is launched and ended, launches are made one at a time, and
 * nobody waits for ever (an invalid end state).
 *
 * Variants that must fail:
 *   -DBROKEN_LEAVE   a poller that leaves does not hand on a call that it has not answered
 *   -DBROKEN_CODE    a poller runs code of a user while it watches
 *   -DBROKEN_MORE    a poller that has launched does not look for more
 *   -DBROKEN_TURN    two threads launch at once
 */
#define FRAMES 3
#define ROOM 2

bool slow;               /* no launch is done before the device has all that it can have */
bool lock;
byte waits;              /* frames that wait for a launch */
byte room = ROOM;
byte out;                /* launched, and not ended */
byte launched;           /* by now; the poller sees what is new */
byte ended;
bool launching;
byte launches_now;
bool asleep;             /* the launcher, at the doorbell */
bool launcher_called;
mtype = { away, watches, called };
mtype poller = away;
bool poller_call;        /* the word at which it looks */

#define TAKE (waits > 0 && room > 0 && !launching)

/* Under the lock. Sets whom: 0 nobody, 1 the poller, 2 the launcher. */
inline announce(whom) {
  whom = 0;
  if
  :: room > 0 && !launching && asleep && !launcher_called ->
     if
     :: poller == watches -> poller = called; whom = 1
     :: else -> launcher_called = true; whom = 2
     fi
  :: else -> skip
  fi
}

/* After the lock. The launcher's call is the flag that it sleeps on. */
inline wake(whom) {
  if
  :: whom == 1 -> poller_call = true
  :: else -> skip
  fi
}

/* Takes the lock, and holds it at the end. got: whether a launch was made. */
inline launch_next(got) {
  got = false;
  if
#ifdef BROKEN_TURN
  :: waits > 0 && room > 0 ->
#else
  :: TAKE ->
#endif
     d_step { waits--; room--; launching = true; got = true };
     lock = false;
     launches_now++;
     assert(launches_now == 1);
     launches_now--;
     d_step { out++; launched++ };
     atomic { !lock -> lock = true };
     launching = false
  :: else -> skip
  fi
}

proctype submitter() {
  byte i; byte whom;
  do
  :: i < FRAMES ->
     atomic { !lock -> lock = true };
     d_step { waits++; announce(whom) };
     lock = false;
     wake(whom);
     i++
  :: else -> break
  od
}

proctype launcher() {
  bool got;
  atomic { !lock -> lock = true };
  do
  :: launch_next(got);
     if
     :: got -> skip
     :: else ->
        d_step { asleep = true; lock = false };
        if
        :: launcher_called -> skip
        :: ended == FRAMES -> goto done
        fi;
        atomic { !lock -> lock = true; asleep = false; launcher_called = false }
     fi
  od;
done:
  skip
}

/* leave_doorbell() */
inline leave() {
  atomic { !lock -> lock = true };
  d_step {
    whom = 0;
    if
#ifndef BROKEN_LEAVE
    :: poller == called && waits > 0 -> poller = away; announce(whom)
#endif
    :: else -> poller = away
    fi;
    on_watch = false
  };
  lock = false;
  wake(whom)
}

/* watch_doorbell() */
inline watch() {
  atomic { !lock -> lock = true };
  d_step { poller = watches; poller_call = false; on_watch = true };
  lock = false
}

proctype the_poller() {
  byte whom; bool got; byte collected; bool on_watch = false;
again:
  if
  :: launched != collected ->
     collected = launched;
     if
     :: !on_watch -> watch()
     :: else -> skip
     fi
  :: out > 0 && (!slow || waits == 0 || room == 0) ->
     /* end_one(): its place is free, and then its listeners run */
     atomic { !lock -> lock = true };
     d_step {
       out--; room++; ended++;
       whom = 0;
       if
       :: waits > 0 -> announce(whom)
       :: else -> skip
       fi
     };
     lock = false;
     wake(whom);
     if
     :: true ->   /* code of a user, which waits until the device has all that it can have */
#ifndef BROKEN_CODE
        if
        :: on_watch -> leave()
        :: else -> skip
        fi;
#endif
        (waits == 0 || room == 0)
     :: true -> skip
     fi;
     if
     :: !on_watch -> watch()
     :: else -> skip
     fi
  :: on_watch && poller_call ->
     /* answer() */
     atomic { !lock -> lock = true };
     launch_next(got);
     whom = 0;
     if
#ifndef BROKEN_MORE
     :: got && TAKE -> poller = called; poller_call = true
     :: got && TAKE -> d_step { poller = away; announce(whom); poller = watches; poller_call = false }
     :: !(got && TAKE) -> poller = watches; poller_call = false
#else
     :: true -> poller = watches; poller_call = false
#endif
     fi;
     lock = false;
     wake(whom)
  :: on_watch -> leave()   /* the time is over */
  :: !on_watch && ended == FRAMES -> goto done
  fi;
  goto again;
done:
  skip
}

init {
  if
  :: slow = true
  :: true -> skip
  fi;
  atomic { run submitter(); run launcher(); run the_poller() };
  ended == FRAMES;
  _nr_pr == 1
}
