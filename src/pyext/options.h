/* options: what the constructor of an executor is given, checked. Attached. */
#ifndef AIOINTERP_OPTIONS_H
#define AIOINTERP_OPTIONS_H

#include <Python.h>

#include <stddef.h>
#include <stdint.h>

/* Its objects are borrowed from the arguments, and NULL where nothing was given. */
struct options {
    unsigned workers; /* at least 1, as `interpreters`, of which there are no more */
    unsigned interpreters;
    int64_t grace;          /* nanoseconds; OS_FOREVER */
    size_t cache_bytes;     /* 0: no arguments are kept */
    size_t most_hosted;     /* coroutines that a host may serve at a time; 0: any number */
    PyObject *prefix;       /* of the names of threads: anything */
    PyObject *initializer;  /* a callable, or None */
    PyObject *initargs;     /* not checked */
    PyObject *preload;      /* tuple */
    PyObject *context_vars; /* tuple */
    PyObject *limit;        /* tuple (limit_set) */
    PyObject *recycling;    /* tuple (renewal_set) */
};

/* 0, or -1 with an exception. */
int options_parse(struct options *options, PyObject *args, PyObject *kwargs);

#endif
