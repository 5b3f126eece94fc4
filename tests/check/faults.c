/* faults: has one call after another fail, of those that may fail for want of memory, threads,
 * interpreters or locks. For faults.py, which loads it; LD_PRELOAD is needed for threads.
 *
 *   direct   a call that the extension itself makes: its entries in the global offset table lead
 *            here. Allocations, interpreters, thread states, mutexes, and whatever of Python's API
 *            allocates.
 *   memory   an allocation by anybody in Python, the interpreter itself included (PyMem_SetAllocator)
 *   threads  pthread_create(), called by anybody. Not sem_init(): CPython itself ends the process when
 *            one of its semaphores cannot be made
 *
 * The n-th of the armed kind fails, as it would: with MemoryError, NULL, EAGAIN. `persist` lets all
 * that follow fail, too. Any thread may be hit, or only the one that armed (`mine`).
 */
#define _GNU_SOURCE
#include <Python.h>

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DIRECT = 1, MEMORY = 2, THREADS = 4 };

static struct {
    atomic_int kinds; /* armed; 0: none. Written last, read first (acquire, release) */
    long target;
    bool persist;
    bool mine;
    pthread_t owner;
    atomic_long count;
    _Atomic(const char *) last; /* what failed last */
} armed;

#define PUBLIC __attribute__((visibility("default")))

PUBLIC void
faults_arm(int kinds, long target, int persist, int mine)
{
    armed.target = target;
    armed.persist = persist != 0;
    armed.mine = mine != 0;
    armed.owner = pthread_self();
    atomic_store(&armed.count, 0);
    atomic_store(&armed.last, (const char *)NULL);
    atomic_store_explicit(&armed.kinds, kinds, memory_order_release);
}

/* How many calls there were that could have failed. */
PUBLIC long
faults_disarm(void)
{
    atomic_store(&armed.kinds, 0);
    return atomic_load(&armed.count);
}

PUBLIC const char *
faults_last(void)
{
    const char *last = atomic_load(&armed.last);
    return last == NULL ? "" : last;
}

static bool
fails(int kind, const char *name)
{
    if ((atomic_load_explicit(&armed.kinds, memory_order_acquire) & kind) == 0 ||
        (armed.mine && !pthread_equal(armed.owner, pthread_self()))) {
        return false;
    }
    long number = atomic_fetch_add(&armed.count, 1) + 1;
    if (number != armed.target && !(armed.persist && number > armed.target)) {
        return false;
    }
    atomic_store(&armed.last, name);
    return true;
}

/* -- direct -- */

/* One stand-in for each function. Arguments are passed on as up to eight words, more than any of them
 * has, which the calling conventions of x86-64 and AArch64 allow; those with a double or a struct
 * have stand-ins of their own. */
typedef void *word;
#define PARAMETERS word a, word b, word c, word d, word e, word f, word g, word h
#define ARGUMENTS a, b, c, d, e, f, g, h
typedef word (*function)(PARAMETERS);

static word
no_memory(void)
{
    PyErr_NoMemory();
    return NULL;
}

static word
minus_one(void)
{
    PyErr_NoMemory();
    return (word)(intptr_t)-1;
}

static word
null_and_errno(void)
{
    errno = ENOMEM;
    return NULL;
}

static word
just_null(void)
{
    return NULL;
}

static word
try_again(void)
{
    return (word)(intptr_t)EAGAIN;
}

static word
minus_one_quietly(void)
{
    return (word)(intptr_t)-1;
}

/* clang-format off */
#define EACH_FUNCTION(DO) \
    DO(malloc, null_and_errno) \
    DO(calloc, null_and_errno) \
    DO(realloc, null_and_errno) \
    DO(strdup, null_and_errno) \
    DO(pthread_mutex_init, try_again) \
    DO(PyMem_Malloc, just_null) \
    DO(PyMem_Calloc, just_null) \
    DO(PyMem_Realloc, just_null) \
    DO(PyMem_RawMalloc, just_null) \
    DO(PyMem_RawCalloc, just_null) \
    DO(PyMem_RawRealloc, just_null) \
    DO(PyThreadState_New, just_null) \
    DO(PyTuple_New, no_memory) \
    DO(PyList_New, no_memory) \
    DO(PyDict_New, no_memory) \
    DO(PyDict_Copy, no_memory) \
    DO(PySet_New, no_memory) \
    DO(PyFrozenSet_New, no_memory) \
    DO(PyList_AsTuple, no_memory) \
    DO(PyList_GetSlice, no_memory) \
    DO(PySequence_List, no_memory) \
    DO(PySequence_Tuple, no_memory) \
    DO(PyBytes_FromStringAndSize, no_memory) \
    DO(PyMemoryView_FromMemory, no_memory) \
    DO(PyMemoryView_FromObject, no_memory) \
    DO(PyUnicode_New, no_memory) \
    DO(PyUnicode_DecodeUTF8, no_memory) \
    DO(PyUnicode_FromString, no_memory) \
    DO(PyUnicode_FromKindAndData, no_memory) \
    DO(PyUnicode_InternFromString, no_memory) \
    DO(PyUnicode_FromFormat, no_memory) \
    DO(PyUnicode_Split, no_memory) \
    DO(PyUnicode_AsUTF8, no_memory) \
    DO(PyLong_FromLong, no_memory) \
    DO(PyLong_FromLongLong, no_memory) \
    DO(PyLong_FromSize_t, no_memory) \
    DO(PyLong_FromNativeBytes, no_memory) \
    DO(PyLong_FromUnsignedLong, no_memory) \
    DO(PyLong_FromVoidPtr, no_memory) \
    DO(Py_BuildValue, no_memory) \
    DO(PyCapsule_New, no_memory) \
    DO(PyCMethod_New, no_memory) \
    DO(PyWeakref_NewRef, no_memory) \
    DO(PyObject_Call, no_memory) \
    DO(PyObject_CallFunction, no_memory) \
    DO(PyObject_CallFunctionObjArgs, no_memory) \
    DO(PyObject_CallMethod, no_memory) \
    DO(PyObject_CallOneArg, no_memory) \
    DO(PyObject_Vectorcall, no_memory) \
    DO(PyObject_GetAttr, no_memory) \
    DO(PyObject_GetAttrString, no_memory) \
    DO(PyObject_GetIter, no_memory) \
    DO(PyObject_Repr, no_memory) \
    DO(PyObject_Str, no_memory) \
    DO(PyImport_Import, no_memory) \
    DO(PyImport_ImportModule, no_memory) \
    DO(PyImport_GetModule, no_memory) \
    DO(PyType_FromModuleAndSpec, no_memory) \
    DO(PyType_GetFullyQualifiedName, no_memory) \
    DO(Py_GenericAlias, no_memory) \
    DO(PyObject_GenericGetDict, no_memory) \
    DO(PyList_Append, minus_one) \
    DO(PyDict_SetItem, minus_one) \
    DO(PySet_Add, minus_one) \
    DO(PyObject_GetBuffer, minus_one) \
    DO(PyObject_GetOptionalAttr, minus_one) \
    DO(PyObject_GetOptionalAttrString, minus_one) \
    DO(PyDict_GetItemRef, minus_one) \
    DO(PyWeakref_GetRef, minus_one) \
    DO(PyModule_AddObjectRef, minus_one) \
    DO(PyList_SetSlice, minus_one) \
    DO(Py_EnterRecursiveCall, minus_one) \
    DO(PyErr_WarnEx, minus_one) \
    DO(Py_AddPendingCall, minus_one_quietly)
/* clang-format on */

#define DEFINE_STAND_IN(name, failure)                                    \
    static function real_##name;                                          \
    static word stand_in_##name(PARAMETERS)                               \
    {                                                                     \
        return fails(DIRECT, #name) ? failure() : real_##name(ARGUMENTS); \
    }
EACH_FUNCTION(DEFINE_STAND_IN)

static PyStatus (*real_new_interpreter)(PyThreadState **, const PyInterpreterConfig *);

static PyStatus
stand_in_new_interpreter(PyThreadState **tstate, const PyInterpreterConfig *config)
{
    if (fails(DIRECT, "Py_NewInterpreterFromConfig")) {
        return PyStatus_Error("no interpreter can be had");
    }
    return real_new_interpreter(tstate, config);
}

static PyObject *(*real_float)(double);

static PyObject *
stand_in_float(double value)
{
    return fails(DIRECT, "PyFloat_FromDouble") ? no_memory() : real_float(value);
}

/* Calling a builtin function allocates nothing by itself: that cannot fail for want of memory. */
static PyObject *(*real_call_no_args)(PyObject *);

static PyObject *
stand_in_call_no_args(PyObject *callable)
{
    if (!PyCFunction_Check(callable) && fails(DIRECT, "PyObject_CallNoArgs")) {
        return no_memory();
    }
    return real_call_no_args(callable);
}

static const struct entry {
    const char *name;
    void *stand_in;
    void **real;
} entries[] = {
#define ENTRY(name, failure) {#name, (void *)stand_in_##name, (void **)&real_##name},
    EACH_FUNCTION(ENTRY) /* */
    {"Py_NewInterpreterFromConfig", (void *)stand_in_new_interpreter,
     (void **)&real_new_interpreter},
    {"PyObject_CallNoArgs", (void *)stand_in_call_no_args, (void **)&real_call_no_args},
    {"PyFloat_FromDouble", (void *)stand_in_float, (void **)&real_float},
};

static int
replace(void **place, const char *name)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (strcmp(entries[i].name, name) == 0) {
            uintptr_t page = (uintptr_t)place & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
            if (mprotect((void *)page, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE) !=
                0) {
                return 0;
            }
            *entries[i].real = dlsym(RTLD_DEFAULT, name);
            *place = entries[i].stand_in;
            return 1;
        }
    }
    return 0;
}

/* The entries of one table of relocations; how many were replaced. */
static int
patch_table(ElfW(Addr) base, const ElfW(Rela) * table, size_t size, const ElfW(Sym) * symbols,
            const char *strings)
{
    int replaced = 0;
    for (size_t i = 0; i < size / sizeof(*table); i++) {
        size_t symbol = (size_t)ELF64_R_SYM(table[i].r_info);
        if (symbol != 0 && table[i].r_addend == 0) {
            replaced +=
                replace((void **)(base + table[i].r_offset), strings + symbols[symbol].st_name);
        }
    }
    return replaced;
}

static int
patch(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    const char *file = strrchr(info->dlpi_name, '/');
    if (file == NULL || strncmp(file, "/_core.", 7) != 0) {
        return 0;
    }
    const ElfW(Rela) *plain = NULL, *jumps = NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    size_t plain_size = 0, jumps_size = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) {
            continue;
        }
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++) {
            switch (entry->d_tag) {
            case DT_RELA:
                plain = (const ElfW(Rela) *)entry->d_un.d_ptr;
                break;
            case DT_RELASZ:
                plain_size = entry->d_un.d_val;
                break;
            case DT_JMPREL:
                jumps = (const ElfW(Rela) *)entry->d_un.d_ptr;
                break;
            case DT_PLTRELSZ:
                jumps_size = entry->d_un.d_val;
                break;
            case DT_SYMTAB:
                symbols = (const ElfW(Sym) *)entry->d_un.d_ptr;
                break;
            case DT_STRTAB:
                strings = (const char *)entry->d_un.d_ptr;
                break;
            }
        }
    }
    *(int *)argument += patch_table(info->dlpi_addr, jumps, jumps_size, symbols, strings) +
                        patch_table(info->dlpi_addr, plain, plain_size, symbols, strings);
    return 0;
}

/* The extension must have been loaded. Resolves lazily bound entries by asking for them. How many
 * functions were replaced. */
PUBLIC int
faults_patch_extension(void)
{
    int replaced = 0;
    dl_iterate_phdr(patch, &replaced);
    return replaced;
}

/* -- memory -- */

static PyMemAllocatorEx allocators[3];

static void *
hook_malloc(void *ctx, size_t size)
{
    PyMemAllocatorEx *real = ctx;
    return fails(MEMORY, "an allocation") ? NULL : real->malloc(real->ctx, size);
}

static void *
hook_calloc(void *ctx, size_t count, size_t size)
{
    PyMemAllocatorEx *real = ctx;
    return fails(MEMORY, "an allocation") ? NULL : real->calloc(real->ctx, count, size);
}

static void *
hook_realloc(void *ctx, void *block, size_t size)
{
    PyMemAllocatorEx *real = ctx;
    return fails(MEMORY, "an allocation") ? NULL : real->realloc(real->ctx, block, size);
}

static void
hook_free(void *ctx, void *block)
{
    PyMemAllocatorEx *real = ctx;
    real->free(real->ctx, block);
}

PUBLIC void
faults_hook_memory(void)
{
    static const PyMemAllocatorDomain domains[] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM,
                                                   PYMEM_DOMAIN_OBJ};
    for (int i = 0; i < 3; i++) {
        PyMem_GetAllocator(domains[i], &allocators[i]);
        PyMemAllocatorEx hook = {&allocators[i], hook_malloc, hook_calloc, hook_realloc, hook_free};
        PyMem_SetAllocator(domains[i], &hook);
    }
}

/* -- threads -- */

PUBLIC int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
               void *argument)
{
    static _Atomic(void *) real;
    if (atomic_load(&real) == NULL) {
        atomic_store(&real, dlsym(RTLD_NEXT, "pthread_create"));
    }
    return fails(THREADS, "pthread_create")
               ? EAGAIN
               : ((int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                           void *))atomic_load(&real))(thread, attributes, main, argument);
}
