/* state: what one interpreter's instance of the extension module owns.
 *
 * Guarded by the GIL of its interpreter: only a thread attached to that interpreter may touch it.
 * Workers' interpreters have one each, with the main interpreter's parts left NULL.
 */
#ifndef AIOINTERP_STATE_H
#define AIOINTERP_STATE_H

#include "compat.h"

#include <stddef.h>

struct loan_home;
struct loop;
struct callables;
struct crew;
struct kept;

enum home_setting {
    HOME_RECURSION_LIMIT,
    HOME_INT_MAX_STR_DIGITS,
    HOME_SOCKET_TIMEOUT,
    HOME_SETTINGS
};
enum home_list { HOME_PATH, HOME_ARGV, HOME_FILTERS, HOME_LISTS };

/* What is asked of callables with each call of one. */
enum attribute_name {
    NAME_WRAPPED, /* `__wrapped__`, of what a decorator makes */
    NAME_FUNC,    /* of a partial, as what follows */
    NAME_ARGS,
    NAME_KEYWORDS,
    ATTRIBUTE_NAMES
};

struct state {
    PyObject *module; /* borrowed: the module owns this struct */
    bool is_main;     /* constant: this is the main interpreter's */

    /* every interpreter */
    PyTypeObject *tag_type;
    PyObject *attribute_names[ATTRIBUTE_NAMES]; /* interned str; as long as the module */
    PyTypeObject *exporter_type;
    PyTypeObject *array_type;    /* array.array; NULL until one was received */
    struct loan_home *home;      /* where this interpreter's loans return to */
    PyObject *interrupted;       /* the exception type Interrupted */
    PyObject *count_blocks;      /* sys.getallocatedblocks as it was (stack) */
    struct callables *callables; /* functions this interpreter has looked up; NULL until used */
    struct kept *kept;           /* values of parcels that it has decoded; NULL until used */
    PyTypeObject *broadcast_type;
    size_t broadcasts;       /* handles that are alive */
    PyObject *context_names; /* dict: of variables the names, in a worker of names the variables */

    /* workers' interpreters; of context */
    PyObject *context_base;  /* what the initializer has set, or NULL: nothing */
    PyObject *context_spare; /* an empty Context that nobody else has, or NULL */

    /* workers' interpreters; of home, homecall and output */
    bool differs_from_made;  /* home has changed it */
    PyObject *environ_taken; /* dict of bytes: the caller's environment; NULL at first */
    PyObject *hooked;        /* set of str: modules whose import is noticed */
    PyObject *outputs[2];    /* sys.stdout, sys.stderr as they were made, or NULL */
    bool wrote[2];           /* to them, since the last flush */

    /* workers' interpreters; of hosting: made for the first host */
    PyObject *host_type;
    PyObject *host_call_type;

    /* where executors live: made by executor_types() */
    bool executors_ready; /* what follows is complete, and the process prepared */
    PyTypeObject *definition_type;
    PyObject *definitions; /* of classes and builtins, by address */
    PyTypeObject *future_type;
    PyTypeObject *executor_type;
    PyTypeObject *work_queue_type;
    PyTypeObject *map_type;
    PyTypeObject *turn_type;
    PyTypeObject *call_type;
    PyTypeObject *loop_type;
    PyTypeObject *wake_type;
    PyObject *loops;        /* dict: the Loop of each event loop with tasks that have not ended */
    struct loop *due_loops; /* those to be woken, held; linked by next_due */
    PyObject *running_loop; /* asyncio.events._get_running_loop; NULL until used */
    PyObject *aio_cancelled_error; /* asyncio.CancelledError; NULL until used, as what follows */
    PyObject *aio_invalid_state_error;
    /* of leased: made with the first call of a tag for everywhere */
    PyObject *lease_executor;  /* whose interpreters are leased, or NULL */
    struct crew *lease_crew;   /* its crew; borrowed */
    PyObject *loop_modules[2]; /* str: whose event loops there may be */
    PyObject *in_trio_run;     /* trio.lowlevel.in_trio_run; NULL until used */

    PyObject *future_names[5]; /* 'PENDING' … as concurrent.futures spells them, by fstate */
    PyObject *cancelled_error; /* concurrent.futures.CancelledError */
    PyObject *invalid_state_error;
    PyObject *broken_pool;     /* concurrent.futures.thread.BrokenThreadPool */
    PyObject *condition_class; /* threading.Condition */
    PyObject *thread_class;    /* threading.Thread */
    PyObject *logger;          /* logging.getLogger("concurrent.futures") */
    PyObject *partial_type;    /* functools.partial */
    PyObject *cache_type;      /* what functools.lru_cache() makes */
    PyObject *placeholder;     /* functools.Placeholder, NULL before 3.14 */
    PyObject *loop_callback;   /* code of asyncio's callback on futures; NULL before asyncio */
    PyObject *deliver;         /* what event loops are told to call (future_delivery) */

    /* of home: what was last noted, in a worker what was last taken over */
    PyObject *settings_seen[HOME_SETTINGS];
    PyObject *setting_getters[HOME_SETTINGS]; /* C functions; NULL while there is none */
    PyObject *environ;                        /* the dict of bytes below os.environ, or None */
    PyObject *sys_dict;                       /* sys.__dict__ */
    PyObject *lists[HOME_LISTS]; /* sys.path, sys.argv, warnings.filters; NULL: it is no list */
    PyObject *seen[HOME_LISTS];  /* tuples of what was in them */
    PyObject *level_cache; /* dict that logging empties when a level changes; NULL: nobody cares */
    PyObject *home_mark;   /* a key in level_cache */
};

/* The state of the interpreter that the caller is attached to, or NULL with an exception. */
struct state *state_of_module(PyObject *module);
struct state *state_of_type(PyTypeObject *type);

/* What was raised as an object was asked about itself may say no more than that it cannot tell. Clears what is set if it is an
 * Exception, or nothing is: 0. -1: a Ctrl-C or a SystemExit, which stays for the caller to raise. */
int state_pass_over_exception(void);

/* The own part of an object whose class, or a base of it, is our type with a negative basicsize: the one with this
 * tp_dealloc. Where it begins depends on what that type has for a base, in this interpreter. An object keeps its
 * class, and a class its bases, so this holds while the object is being deallocated, too. */
static inline void *
state_own_part(PyObject *object, destructor dealloc)
{
    PyTypeObject *type = Py_TYPE(object);
    while (type->tp_dealloc != dealloc) {
        type = type->tp_base;
    }
    return PyObject_GetTypeData(object, type);
}

/* Calls `function` of the module aiointerpreters.`room`, imported on first use: the project's Python
 * rooms for what is rare. Steals nothing. A new reference, or NULL with an exception. */
PyObject *state_call(const char *room, const char *function, PyObject *const *args, size_t nargs);

extern struct PyModuleDef state_module_def;

#endif
