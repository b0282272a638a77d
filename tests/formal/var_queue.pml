/* SPDX-License-Identifier: Apache-2.0
 * The variable queue of the dependency engine: src/engine/var_state.cc and ThreadedEngine::claim.
 *
 * Four threads push an operation each on two variables; whoever brings an operation's count to zero runs it.
 * Checked: a writer holds a variable alone, every operation sees exactly the writes that were pushed before it and
 * runs exactly once, and no two wait for each other (an invalid end state).
 *
 * Variants that must fail:
 *   -DBROKEN_CLAIM   an operation makes its claims one variable at a time, in the order in which it names them
 *   -DBROKEN_GRANT   a reader is granted past a writer that stands in the queue before it
 *   -DBROKEN_COUNT   the count does not start one above the claims, so a release may run the operation twice
 *   -DBROKEN_TAKEN   what a writer took with it goes back behind what was pushed meanwhile
 */
#define OPS 4
#define VARS 2

typedef Var {
  bool lock;
  bool writer;
  byte readers;
  byte queue[OPS];      /* operations that wait, in order */
  byte length;
  byte taken[OPS];      /* those that the writer which holds it took with it when it was granted */
  byte taken_length
}
Var var[VARS];

/* What operation o does to variable v: 0 nothing, 1 reads, 2 writes. */
byte access[8];
#define ACCESS(o, v) access[(o) * VARS + (v)]
byte claims[OPS];
byte waits[OPS];
byte ran[OPS];
byte pushed_writes[VARS];
byte done_writes[VARS];
byte expected[8];     /* writes pushed before operation o on variable v */
#define EXPECTED(o, v) expected[(o) * VARS + (v)]
byte holders_write[VARS];
byte holders_read[VARS];

#define CAN_GRANT(o, v) (!var[v].writer && (ACCESS(o, v) == 1 || var[v].readers == 0))

inline grant(o, v) {
  if
  :: ACCESS(o, v) == 2 -> var[v].writer = true
  :: else -> var[v].readers++
  fi
}

/* VarState::acquire, under the lock. */
inline claim_one(o, v, granted) {
  d_step {
    EXPECTED(o, v) = pushed_writes[v];
    pushed_writes[v] = pushed_writes[v] + (ACCESS(o, v) == 2 -> 1 : 0);
    if
#ifdef BROKEN_GRANT
    :: (var[v].length == 0 || ACCESS(o, v) == 1) && CAN_GRANT(o, v) -> grant(o, v); granted++
    :: else -> var[v].queue[var[v].length] = o; var[v].length++
#else
    :: var[v].length == 0 && CAN_GRANT(o, v) -> grant(o, v); granted++
    :: else -> var[v].queue[var[v].length] = o; var[v].length++
#endif
    fi;
    assert(!(var[v].writer && var[v].readers > 0))
  }
}

/* VarState::release: hands what it took on to the next writer, without the lock; or gives back, then grants the
 * longest prefix of the queue that can hold it together. A writer that is granted takes the rest of the queue. */
inline give_back(o, v) {
  if
  :: ACCESS(o, v) == 2 && var[v].taken_length > 0 && ACCESS(var[v].taken[0], v) == 2 ->
     d_step {
       freed[0] = var[v].taken[0];
       granted_count = 1;
       for (k : 1 .. OPS - 1) { var[v].taken[k - 1] = var[v].taken[k] };
       var[v].taken_length--;
       k = 0
     }
  :: else ->
     atomic { !var[v].lock -> var[v].lock = true };
     d_step {
       if
       :: ACCESS(o, v) == 2 ->
          var[v].writer = false;
#ifdef BROKEN_TAKEN
          for (k : 0 .. OPS - 1) {
            if
            :: k < var[v].taken_length -> var[v].queue[var[v].length] = var[v].taken[k]; var[v].length++
            :: else -> skip
            fi
          };
#else
          /* to the front */
          do
          :: var[v].taken_length > 0 ->
             var[v].taken_length--;
             for (k : 1 .. OPS - 1) { var[v].queue[OPS - k] = var[v].queue[OPS - k - 1] };
             var[v].queue[0] = var[v].taken[var[v].taken_length];
             var[v].length++
          :: else -> break
          od;
#endif
          var[v].taken_length = 0
       :: else -> var[v].readers--
       fi;
       granted_count = 0;
       do
       :: var[v].length > 0 && CAN_GRANT(var[v].queue[0], v) ->
          grant(var[v].queue[0], v);
          freed[granted_count] = var[v].queue[0];
          granted_count++;
          for (k : 1 .. OPS - 1) { var[v].queue[k - 1] = var[v].queue[k] };
          var[v].length--
       :: else -> break
       od;
       if
       :: var[v].writer ->
          for (k : 0 .. OPS - 1) { var[v].taken[k] = var[v].queue[k] };
          var[v].taken_length = var[v].length;
          var[v].length = 0
       :: else -> skip
       fi;
       k = 0
     };
     var[v].lock = false
  fi
}

/* Runs operation `mine`, then whatever its end makes runnable, as the trampoline does. */
proctype pusher(byte mine) {
  byte granted = 0;
  byte granted_count = 0;
  byte freed[OPS];
  byte runnable[OPS];
  byte runnable_count = 0;
  byte v; byte k; byte g; byte op; byte left;

#ifdef BROKEN_COUNT
  waits[mine] = claims[mine];
#else
  waits[mine] = claims[mine] + 1;
  granted = 1;
#endif
#ifdef BROKEN_CLAIM
  /* Operation 1 names its variables the other way round. */
  v = (mine == 1 -> 1 : 0);
  for (k : 0 .. VARS - 1) {
    if
    :: ACCESS(mine, v) > 0 ->
       atomic { !var[v].lock -> var[v].lock = true };
       claim_one(mine, v, granted);
       var[v].lock = false
    :: else -> skip
    fi;
    v = 1 - v
  };
#else
  for (v : 0 .. VARS - 1) {
    if
    :: ACCESS(mine, v) > 0 -> atomic { !var[v].lock -> var[v].lock = true }
    :: else -> skip
    fi
  };
  for (v : 0 .. VARS - 1) {
    if
    :: ACCESS(mine, v) > 0 -> claim_one(mine, v, granted)
    :: else -> skip
    fi
  };
  for (v : 0 .. VARS - 1) {
    if
    :: ACCESS(mine, v) > 0 -> var[v].lock = false
    :: else -> skip
    fi
  };
#endif
  atomic { waits[mine] = waits[mine] - granted; left = waits[mine] };
  if
  :: left == 0 -> runnable[0] = mine; runnable_count = 1
  :: else -> skip
  fi;
  do
  :: runnable_count > 0 ->
     runnable_count--;
     op = runnable[runnable_count];
     /* runs: it holds what it claimed, and nobody may be in its way */
     d_step {
       for (v : 0 .. VARS - 1) {
         if
         :: ACCESS(op, v) == 2 -> holders_write[v]++
         :: ACCESS(op, v) == 1 -> holders_read[v]++
         :: else -> skip
         fi;
         assert(holders_write[v] <= 1 && (holders_write[v] == 0 || holders_read[v] == 0));
         assert(ACCESS(op, v) == 0 || done_writes[v] == EXPECTED(op, v))
       };
       ran[op]++
     };
     d_step {
       for (v : 0 .. VARS - 1) {
         if
         :: ACCESS(op, v) == 2 -> holders_write[v]--; done_writes[v]++
         :: ACCESS(op, v) == 1 -> holders_read[v]--
         :: else -> skip
         fi
       }
     };
     for (v : 0 .. VARS - 1) {
       if
       :: ACCESS(op, v) > 0 ->
          give_back(op, v);
          for (g : 0 .. OPS - 1) {
            if
            :: g < granted_count ->
               atomic { waits[freed[g]]--; left = waits[freed[g]] };
               if
               :: left == 0 -> runnable[runnable_count] = freed[g]; runnable_count++
               :: else -> skip
               fi
            :: else -> skip
            fi
          }
       :: else -> skip
       fi
     }
  :: else -> break
  od
}

init {
  byte o;
  atomic {
    /* Two write both variables, one reads both, one reads one and writes the other. */
    ACCESS(0, 0) = 2; ACCESS(0, 1) = 2;
    ACCESS(1, 0) = 2; ACCESS(1, 1) = 2;
    ACCESS(2, 0) = 1; ACCESS(2, 1) = 1;
    ACCESS(3, 0) = 1; ACCESS(3, 1) = 2;
    for (o : 0 .. OPS - 1) { claims[o] = 2 };
    run pusher(0); run pusher(1); run pusher(2); run pusher(3)
  };
  _nr_pr == 1;
  for (o : 0 .. OPS - 1) { assert(ran[o] == 1) }
}
