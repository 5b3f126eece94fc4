/* compat: the one room that knows Python's versions and private API.
 *
 * Every other room of pyext includes this instead of <Python.h>. What differs between 3.13, 3.14
 * and 3.15 is asked for here by name.
 */
#ifndef AIOINTERP_COMPAT_H
#define AIOINTERP_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#if PY_VERSION_HEX < 0x030D0000
#error "aiointerpreters needs Python 3.13 or later"
#endif

/* Once in the process, attached to main: finds out what of the following may be relied on in this build, by trying it,
 * and whether AIOINTERPRETERS_SAFE asks for none of it. */
void compat_init(void);
/* Whether the environment has AIOINTERPRETERS_SAFE set to anything but 0: nothing is done then that rests on how CPython
 * happens to work, where the same can be had without, if slower. */
bool compat_is_safe_mode(void);

/* Creates an isolated interpreter with a GIL of its own and attaches the calling thread to it;
 * call it with no thread state attached. NULL: nothing was made, nothing is attached, and *why (a
 * static string, or one owned by the runtime) says why. Takes the main GIL for a moment
 * (CPython gh-117953). */
PyThreadState *compat_new_interpreter(const char **why);

/* Ends the attached interpreter, whose home thread the caller is, after what CPython would forget in it
 * has been cleared (may run destructors). Nothing is attached afterwards.
 * False: it cannot be ended safely (3.13 aborts the process when a thread of a task is left in it)
 * and is abandoned instead. */
bool compat_end_interpreter(PyThreadState *tstate);

/* Around the body of a tp_dealloc of what may hold another of its kind, and that one the next: long chains must not be
 * freed by recursion. 3.14 sees to it for every type. No return in between. */
#if PY_VERSION_HEX < 0x030E0000
#define COMPAT_DEALLOC_BEGIN(object, dealloc) Py_TRASHCAN_BEGIN(object, dealloc)
#define COMPAT_DEALLOC_END Py_TRASHCAN_END
#else
#define COMPAT_DEALLOC_BEGIN(object, dealloc)
#define COMPAT_DEALLOC_END
#endif

/* What must be imported in the main interpreter before the first interpreter is made: _datetime on
 * 3.13, whose first import elsewhere corrupts the heap (CPython gh-136421). 0, or -1 with an
 * exception. */
int compat_prepare_main(void);

/* Has an interpreter call `function(argument)` between two bytecodes of one of its threads, or when it ends; what
 * the function raises (-1) is raised in that thread. Any thread, with no GIL: so not attached to an interpreter whose
 * GIL somebody may hold while he waits for the caller. 0; or -1: it has too many such calls already. */
int compat_add_call(PyInterpreterState *interpreter, int (*function)(void *), void *argument);

/* The exceptions that a thread is handling, the innermost first: those of all frames of its stack, where
 * PyErr_GetHandledException() has the innermost alone. Borrowed; NULL: there are no more. *position is NULL before the first. For
 * any thread that is attached to the interpreter of `tstate`, and stays so meanwhile. */
PyObject *compat_next_handled(PyThreadState *tstate, void **position);

/* Whether a frame, the innermost of its thread, is at the call of an `__enter__` or `__aenter__` by a `with` statement. Since
 * 3.14 that is an ordinary call, after which a pending call may raise before the block is covered by its
 * exception table. */
bool compat_is_entering(PyFrameObject *frame, PyCodeObject *code);

/* At exit, attached to main, after all interpreters have ended: the status that the process will exit
 * with says how the program ended, whatever workers have run meanwhile. */
void compat_settle_exit_status(void);

/* The exception that a thread of the attached interpreter handles: borrowed, or NULL. */
PyObject *compat_handled_exception(PyThreadState *tstate);

/* Whether the calling thread is the one in which Python runs signal handlers. Any thread, attached or not. */
bool compat_is_main_thread(void);

/* Whether tracemalloc is tracing, beside which interpreters hang, or crash, before 3.15 (CPython
 * gh-146089). A few nanoseconds; attached. */
bool compat_is_traced(void);

/* Whether Future._get_snapshot() exists (3.15). */
bool compat_has_future_snapshot(void);

/* Has the process end by SIGINT once Python is finalized, as after a Ctrl-C that nobody has caught; `hook`, a
 * sys.excepthook, says so. At main. */
void compat_end_by_interrupt(PyObject *hook);

/* Has the child of every fork forget the interpreters that it inherited, which have no threads there
 * any more: without that CPython crashes in the child (gh-101437, gh-139759). What they own leaks in
 * the child. Once in the process, from the main interpreter; false: the layout of this Python is not
 * the one that is known, or the platform refuses, and nothing was done. */
bool compat_guard_fork(void);

/* Whether compat_guard_fork() has found where the runtime lists interpreters; not in a debug build, which asserts at its
 * end that all of them have ended. */
bool compat_can_forget(void);
/* As above, at exit: takes one interpreter off the runtime's list, so that the finalization of Python leaves it alone.
 * Nobody may create or end one at the same moment. Attached to main. */
void compat_forget_interpreter(PyInterpreterState *interpreter);
/* The same for a thread state of main's whose thread will never attach it again: 3.15 goes on waiting for non-daemon
 * threads as long as they have one. Attached to main. */
void compat_forget_thread_state(PyThreadState *tstate);

/* A new thread state takes the memory for its stack of frames from the allocator of arenas, which maps it, and gives it
 * back when it is deleted: 10 µs. From this call on some that were given back are kept for the next. Once in the process
 * does it, more do no harm; attached to main. Nothing in safe mode. */
void compat_keep_stacks(void);

/* -- memory that changes interpreters --
 *
 * CPython's allocators take a request of more than 512 bytes to malloc, whichever interpreter asks, and
 * each interpreter counts how many of these blocks are its own: one that ends with any left keeps all
 * its arenas (megabytes). So a block can change interpreters if both are told. */

/* Bytes, that an object or a block has at least, if it is to move. */
enum { COMPAT_MOVABLE = 4096 };

/* Whether memory may move at all: not where the allocators were replaced or are watched (debug hooks,
 * tracemalloc, mimalloc), or count otherwise than is known (compat_init()); nor in safe mode. Any thread that is
 * attached. */
bool compat_memory_moves(void);

/* Whether an exact bytes or str is one block, which nothing else of its interpreter refers to but one
 * reference. */
bool compat_object_moves(PyObject *object);
/* The attached interpreter gives such an object away, or a block. It belongs to none until another adopts
 * it, or PyMem_RawFree() frees it, attached to anything or nothing. False: there was no memory. */
bool compat_disown_block(void);
/* The attached interpreter has taken over one that was given away. */
void compat_adopt_block(void);

/* Whether the object is an array.array, and none of a subclass. */
bool compat_is_array(PyObject *object);

/* The memory under a memoryview. */
struct compat_memory {
    PyObject *owner; /* borrowed: an exact bytes, bytearray or array.array */
    char *start;
    Py_ssize_t size; /* bytes */
};
/* Whether the caller's one reference to a memoryview is all that keeps the memory, and the memory can be
 * taken out of its owner. */
bool compat_memory_is_alone(PyObject *memoryview, struct compat_memory *memory);
/* Takes the memory, whose view is gone, and the owner, of which the caller has the only reference. Gives
 * the block, for PyMem_RawFree(), and in memory->start where its contents lie now. NULL with an exception;
 * the owner is gone then, too. */
void *compat_take_memory(struct compat_memory *memory);

#endif
