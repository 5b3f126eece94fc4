#include "compat.h"

#include "../os/os.h"

#include <opcode.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a release of CPython may no longer export, and can be done without: NULL then. */
#ifdef __APPLE__
#define MAY_BE_MISSING __attribute__((weak_import))
#else
#define MAY_BE_MISSING __attribute__((weak))
#endif

/* Constant once compat_init() has run. */
static struct {
    bool safe_mode;
    bool
        counts_as_known; /* the allocators count blocks of malloc's as compat_disown_block() has it */
} known;

bool
compat_is_safe_mode(void)
{
    return known.safe_mode;
}

PyThreadState *
compat_new_interpreter(const char **why)
{
    PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *tstate = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
    if (PyStatus_Exception(status) || tstate == NULL) {
        *why = status.err_msg != NULL ? status.err_msg : "out of memory";
        return NULL;
    }
    return tstate;
}

#if PY_VERSION_HEX < 0x030E0000
/* Calls a function without arguments, if its module has been imported. What it raises is dropped. */
static void
call_if_imported(const char *module_name, const char *function)
{
    PyObject *name = PyUnicode_FromString(module_name);
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *done = module == NULL ? NULL : PyObject_CallMethod(module, function, NULL);
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(module);
    Py_XDECREF(name);
}

/* Does what Py_EndInterpreter() does first, joining threads and calling what `atexit` has, either of which may start
 * more; then looks whether any is left. */
static bool
other_threads_left(PyThreadState *tstate)
{
    call_if_imported("threading", "_shutdown");
    call_if_imported("atexit", "_run_exitfuncs");
    PyThreadState *head = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(tstate));
    return head != tstate || PyThreadState_Next(head) != NULL;
}
#endif

/* Empties a list or a dict that is an attribute of a module. */
static void
empty(PyObject *module, const char *name)
{
    PyObject *container = NULL;
    if (PyObject_GetOptionalAttrString(module, name, &container) > 0) {
        if (PyList_Check(container)) {
            PyList_Clear(container);
        }
        else if (PyDict_Check(container)) {
            PyDict_Clear(container);
        }
    }
    Py_XDECREF(container);
}

/* Py_EndInterpreter() lets go of some containers after its last garbage collection, so whatever is part of
 * a cycle and reached from there stays for good (any instance of a class that Python code has made or of a
 * heap type: a compiled pattern, the class of a warning); and one block that stays keeps all arenas of
 * the interpreter, megabytes. What gc.freeze() has set aside, and what DEBUG_SAVEALL would have gc keep,
 * stays as well. */
static void
clear_what_stays(void)
{
    PyObject *warnings = PyImport_ImportModule("_warnings");
    if (warnings != NULL) {
        empty(warnings, "filters");
        empty(warnings, "_onceregistry");
        Py_DECREF(warnings);
    }
    PyErr_Clear();
    PyObject *name = PyUnicode_FromString("gc");
    PyObject *gc = name == NULL ? NULL : PyImport_GetModule(name); /* or nobody has used it */
    if (gc != NULL) {
        PyObject *calm = PyObject_CallMethod(gc, "set_debug", "i", 0);
        PyObject *thawed = PyObject_CallMethod(gc, "unfreeze", NULL);
        empty(gc, "garbage");
        empty(gc, "callbacks");
        Py_XDECREF(calm);
        Py_XDECREF(thawed);
        Py_DECREF(gc);
    }
    PyErr_Clear();
    Py_XDECREF(name);
}

bool
compat_end_interpreter(PyThreadState *tstate)
{
#if PY_VERSION_HEX < 0x030E0000
    if (other_threads_left(tstate)) {
        PyEval_SaveThread();
        return false;
    }
#endif
    clear_what_stays();
    Py_EndInterpreter(tstate);
    return true;
}

int
compat_prepare_main(void)
{
#if PY_VERSION_HEX < 0x030E0000
    PyObject *module = PyImport_ImportModule("_datetime");
    if (module == NULL) {
        return -1;
    }
    Py_DECREF(module);
#endif
    return 0;
}

/* pycore_ceval.h; the same from 3.13 to 3.15. */
PyAPI_FUNC(int) _PyEval_AddPendingCall(PyInterpreterState *interp, int (*func)(void *), void *arg,
                                       int flags) MAY_BE_MISSING;

/* Without it no task is interrupted: one that was asked to stop is set aside after the grace of its executor. */
int
compat_add_call(PyInterpreterState *interpreter, int (*function)(void *), void *argument)
{
    if (_PyEval_AddPendingCall == NULL) {
        return -1;
    }
    return _PyEval_AddPendingCall(interpreter, function, argument, 0) == 0 ? 0 : -1;
}

PyObject *
compat_next_handled(PyThreadState *tstate, void **position)
{
    _PyErr_StackItem *item =
        *position == NULL ? tstate->exc_info : ((_PyErr_StackItem *)*position)->previous_item;
    while (item != NULL && (item->exc_value == NULL || item->exc_value == Py_None)) {
        item = item->previous_item;
    }
    *position = item;
    return item == NULL ? NULL : item->exc_value;
}

#if PY_VERSION_HEX >= 0x030E0000
bool
compat_is_entering(PyFrameObject *frame, PyCodeObject *code)
{
    enum { ENTER = 0, AENTER = 2 }; /* arguments of LOAD_SPECIAL */
    PyObject *bytes = PyCode_GetCode(code);
    int at = PyFrame_GetLasti(frame);
    bool result = false;
    if (bytes != NULL && at >= 2 && at + 1 < PyBytes_GET_SIZE(bytes)) {
        const unsigned char *unit = (const unsigned char *)PyBytes_AS_STRING(bytes) + at;
        result = unit[0] == CALL && unit[1] == 0 && unit[-2] == LOAD_SPECIAL &&
                 (unit[-1] == ENTER || unit[-1] == AENTER);
    }
    Py_XDECREF(bytes);
    PyErr_Clear();
    return result;
}
#else
bool
compat_is_entering(PyFrameObject *Py_UNUSED(frame), PyCodeObject *Py_UNUSED(code))
{
    return false;
}
#endif

/* 3.13 ends the process by SIGINT if the code of the last PyRun_* call, of any thread in any
 * interpreter, ended with a KeyboardInterrupt; eval() and exec() of a str are such calls, so workers set
 * and clear the mark as they import and compute. How the program itself ended is known from what
 * Python printed for it; one more such call makes the mark say so. */
#if PY_VERSION_HEX < 0x030E0000
void
compat_settle_exit_status(void)
{
    if (PySys_GetObject("ps1") != NULL) {
        return; /* a prompt prints what does not end the program */
    }
    PyObject *printed = PySys_GetObject("last_exc");
    bool interrupted =
        printed != NULL && Py_IS_TYPE(printed, (PyTypeObject *)PyExc_KeyboardInterrupt);
    PyObject *globals = PyDict_New();
    if (globals != NULL) {
        Py_XDECREF(PyRun_String(interrupted ? "raise KeyboardInterrupt" : "pass", Py_file_input,
                                globals, globals));
        Py_DECREF(globals);
    }
    PyErr_Clear();
}
#else
void
compat_settle_exit_status(void)
{
}
#endif

/* -- stacks of thread states -- */

/* DATA_STACK_CHUNK_SIZE of pystate.c, what a thread state begins with. Arenas, which the same allocator is asked for, are
 * larger. Nothing is lost where it should be another: such chunks are not kept. */
enum { STACK_SIZE = 16 * 1024, KEPT_STACKS = 32 };

static struct {
    PyObjectArenaAllocator below; /* constant once installed */
    bool installed;               /* the main GIL */
    _Atomic(void *) kept
        [KEPT_STACKS]; /* taken and given by exchange: without a lock, so that a fork may come */
} stacks;

/* The context is not looked at: somebody may still be calling what was there before. */
static void *
take_stack(void *Py_UNUSED(context), size_t size)
{
    for (size_t i = 0; size == STACK_SIZE && i < KEPT_STACKS; i++) {
        if (atomic_load_explicit(&stacks.kept[i], memory_order_relaxed) != NULL) {
            void *stack = atomic_exchange_explicit(&stacks.kept[i], NULL, memory_order_acquire);
            if (stack != NULL) {
                return memset(stack, 0, size); /* as it is when it was mapped; 0.2 µs */
            }
        }
    }
    return stacks.below.alloc(stacks.below.ctx, size);
}

static void
give_stack(void *Py_UNUSED(context), void *stack, size_t size)
{
    for (size_t i = 0; size == STACK_SIZE && i < KEPT_STACKS; i++) {
        void *none = NULL;
        if (atomic_load_explicit(&stacks.kept[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&stacks.kept[i], &none, stack,
                                                    memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    stacks.below.free(stacks.below.ctx, stack, size);
}

void
compat_keep_stacks(void)
{
    if (!stacks.installed && !known.safe_mode) {
        stacks.installed = true;
        PyObject_GetArenaAllocator(&stacks.below);
        PyObjectArenaAllocator own = {NULL, take_stack, give_stack};
        PyObject_SetArenaAllocator(&own);
    }
}

/* -- signals -- */

PyAPI_FUNC(int) _PyOS_IsMainThread(void) MAY_BE_MISSING;

bool
compat_is_main_thread(void)
{
    return _PyOS_IsMainThread != NULL ? _PyOS_IsMainThread() != 0 : os_is_first_thread();
}

PyObject *
compat_handled_exception(PyThreadState *tstate)
{
    const _PyErr_StackItem *item = tstate->exc_info;
    while ((item->exc_value == NULL || item->exc_value == Py_None) && item->previous_item != NULL) {
        item = item->previous_item;
    }
    return item->exc_value == Py_None ? NULL : item->exc_value;
}

bool
compat_is_traced(void)
{
    enum { NOT_TRACING = -2, NOBODYS_DOMAIN = 0xA10 };
    return PY_VERSION_HEX < 0x030F0000 && PyTraceMalloc_Untrack(NOBODYS_DOMAIN, 0) != NOT_TRACING;
}

bool
compat_has_future_snapshot(void)
{
    return PY_VERSION_HEX >= 0x030F0000;
}

void
compat_end_by_interrupt(PyObject *hook)
{
    PyObject *before = Py_XNewRef(PySys_GetObject("excepthook"));
    PySys_SetObject("excepthook", hook);
    PyRun_SimpleString("raise KeyboardInterrupt"); /* which notes that, as for a main program */
    PySys_SetObject("excepthook", before);
    Py_XDECREF(before);
}

/* -- memory that changes interpreters -- */

PyAPI_FUNC(const char *) _PyMem_GetCurrentAllocatorName(void) MAY_BE_MISSING;

/* Neither replaced nor watched. */
static bool
is_allocator(const char *wanted)
{
    const char *name =
        _PyMem_GetCurrentAllocatorName != NULL ? _PyMem_GetCurrentAllocatorName() : NULL;
    return name != NULL && strcmp(name, wanted) == 0;
}

bool
compat_memory_moves(void)
{
#if defined(Py_GIL_DISABLED) || defined(Py_TRACE_REFS)
    return false;
#else
    return known.counts_as_known && (is_allocator("pymalloc") || is_allocator("malloc"));
#endif
}

bool
compat_object_moves(PyObject *object)
{
    if (Py_REFCNT(object) != 1) {
        return false;
    }
    if (PyBytes_CheckExact(object)) {
        return PyBytes_GET_SIZE(object) >= COMPAT_MOVABLE;
    }
    /* A UTF-8 form that is cached beside the object is a block of its own. */
    return PyUnicode_IS_COMPACT(object) && !PyUnicode_CHECK_INTERNED(object) &&
           (PyUnicode_IS_ASCII(object) || ((PyCompactUnicodeObject *)object)->utf8 == NULL) &&
           PyUnicode_GET_LENGTH(object) * PyUnicode_KIND(object) >= COMPAT_MOVABLE;
}

bool
compat_disown_block(void)
{
    void *stand_in =
        PyMem_RawMalloc(1); /* in no arena: counted, and freed, as a block of malloc's */
    PyMem_Free(stand_in);
    return stand_in != NULL;
}

void
compat_adopt_block(void)
{
    void *stand_in = PyMem_Malloc(COMPAT_MOVABLE); /* counted as a block of malloc's, which it is */
    PyMem_RawFree(stand_in);
}

/* -1: it cannot be known, or not without a look at interpreters whose GIL others have. */
static Py_ssize_t
count_blocks(void)
{
    PyInterpreterState *main = PyInterpreterState_Main();
    PyObject *counter = PySys_GetObject("getallocatedblocks"); /* borrowed */
    if (counter == NULL || PyInterpreterState_Get() != main || PyInterpreterState_Head() != main ||
        PyInterpreterState_Next(main) != NULL) {
        return -1;
    }
    PyObject *count = PyObject_CallNoArgs(counter);
    Py_ssize_t result = count == NULL ? -1 : PyLong_AsSsize_t(count);
    PyErr_Clear();
    Py_XDECREF(count);
    return result;
}

/* Gives away and takes over what stands for blocks, and sees how the count of blocks has changed. Nobody
 * else of this interpreter allocates meanwhile. Some tens of microseconds, a visit to each pool of obmalloc's the most. */
static bool
counts_as_known(void)
{
    enum { DISOWNED = 64, ADOPTED = 24, ACCURACY = 4 }; /* the counts are objects themselves */
    bool is_plain = is_allocator("pymalloc") || is_allocator("malloc"); /* others abort at this */
    Py_ssize_t before = is_plain ? count_blocks() : -1;
    if (before < 0) {
        return false;
    }
    int owed = 0;
    for (int i = 0; i < DISOWNED; i++) {
        owed += compat_disown_block();
    }
    for (int i = 0; i < ADOPTED; i++) {
        compat_adopt_block();
    }
    Py_ssize_t change = count_blocks() - before;
    for (owed -= ADOPTED; owed > 0; owed--) {
        compat_adopt_block();
    }
    Py_ssize_t expected = is_allocator("malloc") ? 0 : ADOPTED - DISOWNED;
    return change >= expected - ACCURACY && change <= expected + ACCURACY;
}

void
compat_init(void)
{
    const char *safe = getenv("AIOINTERPRETERS_SAFE");
    known.safe_mode = safe != NULL && *safe != '\0' && strcmp(safe, "0") != 0;
    known.counts_as_known = !known.safe_mode && counts_as_known();
}

/* The beginning of an array.array (arraymodule.c; the same from 3.13 to 3.15). */
struct array_object {
    PyObject_VAR_HEAD char *items;
    Py_ssize_t allocated;
};

bool
compat_is_array(PyObject *object)
{
    return strcmp(Py_TYPE(object)->tp_name, "array.array") == 0 &&
           PyType_HasFeature(Py_TYPE(object), Py_TPFLAGS_IMMUTABLETYPE);
}

bool
compat_memory_is_alone(PyObject *memoryview, struct compat_memory *memory)
{
    const PyMemoryViewObject *view = (const PyMemoryViewObject *)memoryview;
    if (Py_REFCNT(memoryview) != 1 || view->exports != 0 || view->mbuf->exports != 1 ||
        Py_REFCNT(view->mbuf) != 1) {
        return false;
    }
    const Py_buffer *buffer = &view->mbuf->master;
    if (buffer->obj == NULL || buffer->len < COMPAT_MOVABLE || Py_REFCNT(buffer->obj) != 1) {
        return false;
    }
    *memory = (struct compat_memory){buffer->obj, buffer->buf, buffer->len};
    if (PyBytes_CheckExact(buffer->obj)) {
        return buffer->buf == PyBytes_AS_STRING(buffer->obj);
    }
    if (PyByteArray_CheckExact(buffer->obj)) {
        return buffer->buf == PyByteArray_AsString(buffer->obj);
    }
    return compat_is_array(buffer->obj) &&
           ((struct array_object *)buffer->obj)->items == buffer->buf &&
           Py_SIZE(buffer->obj) * buffer->itemsize == buffer->len;
}

#if PY_VERSION_HEX >= 0x030F0000
/* A bytearray keeps its memory in a bytes object. */
static void *
take_from_bytearray(struct compat_memory *memory)
{
    PyObject *bytes = PyObject_CallMethod(memory->owner, "take_bytes", NULL);
    Py_DECREF(memory->owner);
    if (bytes == NULL || !compat_object_moves(bytes) || !compat_disown_block()) {
        Py_XDECREF(bytes);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    memory->start = PyBytes_AS_STRING(bytes);
    return bytes;
}
#else
static void *
take_from_bytearray(struct compat_memory *memory)
{
    PyByteArrayObject *owner = (PyByteArrayObject *)memory->owner;
    void *block = compat_disown_block() ? owner->ob_bytes : NULL;
    if (block != NULL) {
        owner->ob_bytes = owner->ob_start = NULL;
        owner->ob_alloc = 0;
        Py_SET_SIZE(owner, 0);
    }
    Py_DECREF(owner);
    return block != NULL ? block : PyErr_NoMemory();
}
#endif

static void *
take_from_array(struct compat_memory *memory)
{
    struct array_object *owner = (struct array_object *)memory->owner;
    void *block = compat_disown_block() ? owner->items : NULL;
    if (block != NULL) {
        owner->items = NULL;
        owner->allocated = 0;
        Py_SET_SIZE(owner, 0);
    }
    Py_DECREF(owner);
    return block != NULL ? block : PyErr_NoMemory();
}

void *
compat_take_memory(struct compat_memory *memory)
{
    if (PyByteArray_CheckExact(memory->owner)) {
        return take_from_bytearray(memory);
    }
    if (compat_is_array(memory->owner)) {
        return take_from_array(memory);
    }
    if (compat_disown_block()) {
        return memory->owner; /* a bytes */
    }
    Py_DECREF(memory->owner);
    return PyErr_NoMemory();
}

/* -- fork -- */

/* The beginning of CPython's description of its own layout for debuggers, the first member of
 * _PyRuntime (pycore_debug_offsets.h; the same from 3.13 to 3.15). */
struct debug_offsets {
    char cookie[8];
    uint64_t version;
    uint64_t free_threaded;
    struct {
        uint64_t size;
        uint64_t finalizing;
        uint64_t interpreters_head;
    } runtime;
    struct {
        uint64_t size;
        uint64_t id;
        uint64_t next;
    } interpreter;
};

PyAPI_DATA(struct pyruntimestate) _PyRuntime MAY_BE_MISSING;

/* Where the runtime's list of interpreters begins, and where it goes on; constant once guarded. */
static struct {
    PyInterpreterState **head;
    size_t next;
    PyInterpreterState *main;
    bool known;
} interpreters;

static PyInterpreterState **
next_of(PyInterpreterState *interpreter)
{
    return (PyInterpreterState **)((char *)interpreter + interpreters.next);
}

/* Whether the list as we read it is the one that the API walks. */
static bool
layout_is_right(void)
{
    PyInterpreterState *mine = *interpreters.head;
    PyInterpreterState *theirs = PyInterpreterState_Head();
    for (int steps = 0; steps < 10000 && mine == theirs; steps++) {
        if (mine == NULL) {
            return true;
        }
        mine = *next_of(mine);
        theirs = PyInterpreterState_Next(theirs);
    }
    return false;
}

/* Runs in the child before CPython does anything there; main is the last of the list. */
static void
forget_interpreters(void)
{
    *interpreters.head = interpreters.main;
    *next_of(interpreters.main) = NULL;
}

bool
compat_guard_fork(void)
{
    const struct debug_offsets *offsets = (const struct debug_offsets *)&_PyRuntime;
    if (offsets == NULL || memcmp(offsets->cookie, "xdebugpy", sizeof(offsets->cookie)) != 0 ||
        offsets->version >> 16 != (unsigned long)PY_VERSION_HEX >> 16 ||
        offsets->runtime.interpreters_head >= offsets->runtime.size ||
        offsets->interpreter.next >= offsets->interpreter.size) {
        return false;
    }
    interpreters.head =
        (PyInterpreterState **)((char *)&_PyRuntime + offsets->runtime.interpreters_head);
    interpreters.next = offsets->interpreter.next;
    interpreters.main = PyInterpreterState_Main();
    interpreters.known = layout_is_right();
    return interpreters.known && os_at_fork(NULL, NULL, forget_interpreters) == 0;
}

/* -- exit -- */

bool
compat_can_forget(void)
{
#ifdef Py_DEBUG
    return false;
#else
    return interpreters.known;
#endif
}

void
compat_forget_interpreter(PyInterpreterState *interpreter)
{
    PyInterpreterState **link = interpreters.head;
    while (*link != NULL && *link != interpreter) {
        link = next_of(*link);
    }
    if (*link != NULL) {
        *link = *next_of(interpreter);
    }
}

void
compat_forget_thread_state(PyThreadState *tstate)
{
#if PY_VERSION_HEX >= 0x030F0000
    PyThreadState_Clear(tstate);
    PyThreadState_Delete(tstate);
#else
    (void)tstate;
#endif
}
